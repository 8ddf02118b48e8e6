import { spawn } from "node:child_process";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { waitForChild } from "../lib/run-process.ts";

/** Hands the terminal over to the lab's own program, so that it owns signals and streams. */
export function execLab(script: "main" | "doctor", args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [`${ROOT}/lab/src/${script}.ts`, ...args], {
    stdio: "inherit",
  });
  // SIGTERM comes to this process only and is passed on.
  const pass = (): void => void child.kill("SIGTERM");
  process.on("SIGINT", waitForChild).on("SIGTERM", pass);
  return new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
  }).finally(() => process.off("SIGINT", waitForChild).off("SIGTERM", pass));
}

export const lab: RunCommand = {
  summary: "run a command in a real kernel with dm-thin: ./run lab [--kernel uml|qemu] -- COMMAND",
  run: (args) => execLab("main", args),
};
