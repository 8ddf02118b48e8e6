import type { RunCommand } from "../lib/command.ts";
import { execLab } from "./lab.ts";

export const doctor: RunCommand = {
  summary: "say which kernels this machine can run the lab on, and why",
  run: (args) => execLab("doctor", args),
};
