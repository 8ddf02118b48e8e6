import { type ChildProcess, spawn } from "node:child_process";
import { ROOT } from "./command.ts";

export interface ProcessResult {
  readonly exitCode: number;
  /** Standard output and error in the order they came, at most MAX_OUTPUT_CHARS from the end. */
  readonly output: string;
  readonly durationMs: number;
}

const MAX_OUTPUT_CHARS = 400_000;

/** The signals that end a run: what was started ends first, and nothing more is started. */
const STOP_SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/** A run that was told to end by a signal, after its programs have ended. */
export class Stopped extends Error {
  override readonly name = "Stopped";
  /** As a shell has it: 128 and the signal's number. */
  readonly exitCode: number;

  constructor(signal: keyof typeof STOP_SIGNALS) {
    super(`ended by ${signal}`);
    this.exitCode = STOP_SIGNALS[signal];
  }
}

/** Passes the signals on to a child until it has closed; then throws Stopped if there was one. */
export async function untilClosed(child: ChildProcess): Promise<number> {
  let stoppedBy: keyof typeof STOP_SIGNALS | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    stoppedBy = signal === "SIGINT" ? "SIGINT" : "SIGTERM";
    // A Ctrl-C reaches the child by its process group; SIGTERM comes to this process only.
    if (signal === "SIGTERM") child.kill("SIGTERM");
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 1));
    });
    if (stoppedBy !== undefined) throw new Stopped(stoppedBy);
    return exitCode;
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
  }
}

/**
 * Runs a program to its end; with `live` its output is also shown (on stderr) as it comes. After
 * `timeoutMs` it is killed, and so has failed.
 */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: {
    readonly live?: boolean;
    readonly env?: Readonly<Record<string, string>>;
    readonly timeoutMs?: number;
  } = {},
): Promise<ProcessResult> {
  const started = performance.now();
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.timeoutMs === undefined
      ? {}
      : { timeout: options.timeoutMs, killSignal: "SIGKILL" as const }),
  });
  let output = "";
  const take = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-MAX_OUTPUT_CHARS);
    if (options.live === true) process.stderr.write(chunk);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const exitCode = await untilClosed(child);
  return { exitCode, output, durationMs: performance.now() - started };
}
