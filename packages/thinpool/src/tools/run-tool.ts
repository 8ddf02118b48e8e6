/** Runs one program: absolute path, empty environment, no shell, bounded output; it may not stand still. */
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { processStat } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";

/** Debian has them in /usr/sbin; where /sbin is a folder of its own it is looked into as well. */
export const TOOL_FOLDERS: readonly string[] = ["/usr/sbin", "/sbin"];
/**
 * How long it takes goes by the metadata: thin_check of the largest (16 GiB) takes minutes, on a slow disk
 * hours. One that took no processor time for so long waits for a disk that is sick.
 */
export const TOOL_STALL_MS = 600_000;
/** proc_pid_stat(5): utime and stime are the 12th and 13th behind the command. */
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;
/** What is kept of a program's messages; the rest is read and dropped. */
export const MAX_REPORT_BYTES: number = 64 << 10;

export interface ToolRun {
  readonly program: string;
  readonly args: readonly string[];
  /** For errors: what it works on. */
  readonly object: string;
  readonly signal: AbortSignal | undefined;
  /** Only for tests: in place of TOOL_STALL_MS. */
  readonly stallMs?: number | undefined;
}

export interface ToolEnd {
  /** POOL_TOOL_FAILED is thrown for an end by a signal, so this is always a code. */
  readonly code: number;
  /** stderr, cut to MAX_REPORT_BYTES. */
  readonly report: string;
}

export interface RunningTool {
  readonly stdout: Readable;
  /** Resolves when the program and its streams have ended. */
  readonly end: Promise<ToolEnd>;
  /** Ends the program now; `end` then rejects. */
  kill(): void;
}

/** POOL_TOOL_MISSING where no folder has it. */
export async function findTool(
  program: string,
  folders: readonly string[],
  object: string,
): Promise<string> {
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not here: the next folder. That none has it is the error below.
    }
  }
  throw new PoolError({
    code: "POOL_TOOL_MISSING",
    operation: program,
    object,
    reason: `this machine has no ${program} in ${folders.join(" or ")}`,
    hint: "Install the package thin-provisioning-tools.",
  });
}

export function startTool(path: string, run: ToolRun): RunningTool {
  run.signal?.throwIfAborted();
  const child = spawn(path, run.args, {
    cwd: "/",
    env: {},
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { stallMs = TOOL_STALL_MS } = run;
  let ended: "stalled" | "killed" | undefined;
  const stop = (why: "stalled" | "killed"): void => {
    ended ??= why;
    child.kill("SIGKILL");
  };
  let ticks: number | undefined = 0;
  const timer = setInterval(() => {
    const now = processorTicks(child.pid);
    if (now !== undefined && now === ticks) stop("stalled");
    ticks = now;
  }, stallMs);
  const onAbort = (): void => stop("killed");
  run.signal?.addEventListener("abort", onAbort, { once: true });

  const report: Buffer[] = [];
  let reportBytes = 0;
  child.stderr?.on("data", (chunk: Buffer) => {
    if (reportBytes < MAX_REPORT_BYTES) {
      report.push(chunk.subarray(0, MAX_REPORT_BYTES - reportBytes));
    }
    reportBytes += chunk.length;
  });
  const end = new Promise<ToolEnd>((resolve, reject) => {
    child.once("error", (error) => reject(toolFailed(run, error.message, error)));
    child.once("close", (code, signal) => {
      const text = Buffer.concat(report).toString("utf8").trim();
      if (code !== null) {
        resolve({ code, report: text });
      } else if (ended === "killed" && run.signal?.aborted === true) {
        reject(run.signal.reason as Error);
      } else {
        const stalled = `it did nothing for ${stallMs / 1000} seconds`;
        reject(toolFailed(run, ended === "stalled" ? stalled : `it was ended by ${signal}`));
      }
    });
  }).finally(() => {
    clearInterval(timer);
    run.signal?.removeEventListener("abort", onAbort);
  });
  // Who reads stdout first must not find an unhandled rejection meanwhile.
  end.catch(() => undefined);
  return { stdout: child.stdout, end, kill: () => stop("killed") };
}

/** Of the process, user's and system's; undefined where it has ended, and `close` says how. */
function processorTicks(pid: number | undefined): number | undefined {
  const stat = pid === undefined ? undefined : processStat(pid);
  return stat === undefined ? undefined : Number(stat[USER_TICKS]) + Number(stat[SYSTEM_TICKS]);
}

export function toolFailed(
  run: Pick<ToolRun, "program" | "object">,
  reason: string,
  cause?: unknown,
): PoolError {
  return new PoolError({
    code: "POOL_TOOL_FAILED",
    operation: run.program,
    object: run.object,
    reason,
    hint: "Whether the metadata is healthy is not known: run the program by hand to see more.",
    cause,
  });
}

/** All of a program's stdout up to the bound; the rest is read and dropped. */
export async function collect(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (bytes < MAX_REPORT_BYTES) chunks.push(chunk.subarray(0, MAX_REPORT_BYTES - bytes));
    bytes += chunk.length;
  }
  return Buffer.concat(chunks).toString("utf8").trim();
}
