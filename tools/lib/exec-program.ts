import { spawn } from "node:child_process";
import { ROOT } from "./command.ts";
import { untilClosed } from "./run-process.ts";

const FLAGS = ["--disable-warning=ExperimentalWarning", "--conditions=source"];

/** Hands the terminal over to a program of the workspace, so that it owns signals and streams. */
export function execProgram(file: string, args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [...FLAGS, `${ROOT}/${file}`, ...args], {
    stdio: "inherit",
  });
  return untilClosed(child);
}
