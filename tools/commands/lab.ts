import { spawn } from "node:child_process";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { untilClosed } from "../lib/run-process.ts";

/** Hands the terminal over to the lab's own program, so that it owns signals and streams. */
export function execLab(script: "main" | "doctor", args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [`${ROOT}/lab/src/${script}.ts`, ...args], {
    stdio: "inherit",
  });
  return untilClosed(child);
}

export const lab: RunCommand = {
  summary: "run a command in a real kernel with dm-thin: ./run lab [--kernel uml|qemu] -- COMMAND",
  run: (args) => execLab("main", args),
};
