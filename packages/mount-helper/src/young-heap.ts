/**
 * V8's young generation stays as it begins, at 1 MiB for each half, and does not grow to 16 under load:
 * that was a third of the daemon's memory, all of it fresh pages, for garbage that a small one collects as
 * fast. Imported before anything else, and by programs only: it is for the whole process.
 */
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--semi-space-growth-factor=1");
