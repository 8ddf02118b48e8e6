import { spawn } from "node:child_process";
import { ROOT } from "./command.ts";

export interface ProcessResult {
  readonly exitCode: number;
  /** Standard output and error in the order they came, at most MAX_OUTPUT_CHARS from the end. */
  readonly output: string;
  readonly durationMs: number;
}

const MAX_OUTPUT_CHARS = 400_000;

/** A Ctrl-C reaches the child by its process group; we end after it, so that nothing is left behind. */
export function waitForChild(): void {}

/** Runs a program to its end; with `live` its output is also shown (on stderr) as it comes. */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: { readonly live?: boolean; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<ProcessResult> {
  const started = performance.now();
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const take = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-MAX_OUTPUT_CHARS);
    if (options.live === true) process.stderr.write(chunk);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  process.on("SIGINT", waitForChild);
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 1));
    });
    return { exitCode, output, durationMs: performance.now() - started };
  } finally {
    process.off("SIGINT", waitForChild);
  }
}
