import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { exitCodes } from "./exit-codes.ts";
import { runLab } from "./index.ts";
import { LabError } from "./lab-error.ts";
import { parseOptions, usage, type LabOptions } from "./options.ts";
import type { LabResult, LabStreams } from "./run.ts";

/** Passed on to the command: what its output looks like, and nothing of this machine. */
const passedOn = ["TERM", "CI", "NO_COLOR", "FORCE_COLOR", "LANG", "LC_ALL", "TZ"];

async function main(args: readonly string[]): Promise<number> {
  let options: LabOptions | "help";
  try {
    options = parseOptions(args, process.cwd());
  } catch (error) {
    return report(error, exitCodes.usage);
  }
  if (options === "help") {
    process.stdout.write(usage);
    return 0;
  }
  const abort = new AbortController();
  let signalCode: number = exitCodes.interrupted;
  process.on("SIGINT", () => abort.abort());
  for (const signal of ["SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      signalCode = exitCodes.terminated;
      abort.abort();
    });
  const env = Object.fromEntries(
    passedOn.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  try {
    const streams = await callerStreams(options, abort.signal);
    const result = await runLab(
      { ...options, env: { ...env, ...options.env } },
      streams,
      abort.signal,
    );
    tell(result, options);
    return result.end === "aborted" ? signalCode : result.exitCode;
  } catch (error) {
    if (abort.signal.aborted && error === abort.signal.reason) {
      process.stderr.write("lab: interrupted\n");
      return signalCode;
    }
    return report(error, exitCodes.labFailed);
  } finally {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
  }
}

/** A shell gets the terminal; without one, the script on stdin. */
async function callerStreams(options: LabOptions, abort: AbortSignal): Promise<LabStreams> {
  const ends = { stdout: process.stdout, stderr: process.stderr };
  const shell = options.command.length === 0;
  if (shell && process.stdin.isTTY && process.stdout.isTTY) {
    // A guest's terminal echoes and edits by itself.
    if (options.kernel !== "host") process.stdin.setRawMode(true);
    const { rows, columns } = process.stdout;
    return { ...ends, terminal: { input: process.stdin, rows, columns } };
  }
  if (shell || options.stdin) return { ...ends, stdin: await allOf(process.stdin, abort) };
  return ends;
}

/** Rejects with the signal's reason: who keeps stdin open must not keep the lab from ending. */
async function allOf(stdin: Readable, abort: AbortSignal): Promise<Buffer> {
  const stop = (): void => void stdin.destroy();
  abort.addEventListener("abort", stop);
  try {
    abort.throwIfAborted();
    return await buffer(stdin);
  } catch (error) {
    abort.throwIfAborted();
    throw error;
  } finally {
    abort.removeEventListener("abort", stop);
  }
}

function tell(result: LabResult, options: LabOptions): void {
  if (result.problem === undefined) return;
  if (result.end === "failed" && !options.verbose) process.stderr.write(result.console);
  process.stderr.write(`lab: ${result.problem}\n`);
}

/** What is no {@link LabError} is told too, with the lab's own exit code: 1 would be the command's. */
function report(error: unknown, code: number): number {
  if (error instanceof LabError) {
    process.stderr.write(`lab: ${error.message}\n`);
    if (error.hint !== undefined) process.stderr.write(`lab: ${error.hint}\n`);
    return code;
  }
  // Of the machine (no space, no such folder) the message says all; of the lab itself, where it was.
  const isOfMachine = error instanceof Error && "syscall" in error;
  const text = error instanceof Error && !isOfMachine ? error.stack : undefined;
  process.stderr.write(`lab: ${text ?? String(error)}\n`);
  return exitCodes.labFailed;
}

process.exitCode = await main(process.argv.slice(2));
// An open stdin would keep the process alive.
process.stdin.destroy();
