/** Asks a daemon, into which loop-delay.ts was loaded, how long its event loop was held. */
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** For `node --import`. */
export const LOOP_DELAY: string = new URL("loop-delay.ts", import.meta.url).href;
const TIMEOUT_MS = 120_000;
const POLL_MS = 20;

export interface LoopDelay {
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The longest turn, less what the thread waited in it for a CPU that another program had. */
  readonly heldMs: number;
}

/** What the daemon's environment has; `file`: where it writes what it saw. */
export function loopDelayEnv(file: string): Record<string, string> {
  return { BENCH_LOOP_DELAY_FILE: file };
}

/** Since the last time it was asked; the first time begins it. The daemon writes it when it is signalled. */
export async function askLoopDelay(daemon: ChildProcess, file: string): Promise<LoopDelay> {
  rmSync(file, { force: true });
  daemon.kill("SIGUSR2");
  for (let waitedMs = 0; waitedMs < TIMEOUT_MS; waitedMs += POLL_MS) {
    await sleep(POLL_MS);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, "utf8");
    if (text.endsWith("\n")) return JSON.parse(text) as LoopDelay;
  }
  throw new Error("the daemon did not say its event loop's delay");
}
