import { spawn } from "node:child_process";
import { ROOT } from "./command.ts";
import { waitForChild } from "./run-process.ts";

const FLAGS = ["--disable-warning=ExperimentalWarning", "--conditions=source"];

/** Hands the terminal over to a program of the workspace, so that it owns signals and streams. */
export function execProgram(file: string, args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [...FLAGS, `${ROOT}/${file}`, ...args], {
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
