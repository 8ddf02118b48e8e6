import { guestTests } from "./shared.ts";

guestTests("qemu");
