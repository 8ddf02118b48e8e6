/** A program that takes the terminal for as long as it runs. */
import { spawn } from "node:child_process";
import { CommandError } from "./errors.ts";

/** Its exit code; 0 where Ctrl-C, which the terminal sends to both, ended it. PROGRAM_MISSING. */
export async function runInForeground(program: string, args: readonly string[]): Promise<number> {
  const ignore = (): void => undefined;
  process.on("SIGINT", ignore);
  try {
    const child = spawn(program, [...args], { stdio: "inherit" });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 0));
    return await promise;
  } catch (error) {
    throw new CommandError({
      code: "PROGRAM_MISSING",
      operation: "start",
      object: program,
      reason: error instanceof Error ? error.message : String(error),
      hint: "Install it.",
      cause: error,
    });
  } finally {
    process.off("SIGINT", ignore);
  }
}
