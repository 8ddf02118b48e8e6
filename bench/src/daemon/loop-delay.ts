/**
 * Loaded into thinpoold before it starts. At the first SIGUSR2 it begins to watch the event loop, which costs
 * some ten system calls a millisecond; at each it says what it saw since the one before.
 */
import { openSync, readSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";
import type { LoopDelay } from "./ask-loop-delay.ts";

const RESOLUTION_MS = 1;
/**
 * Linux, Documentation/scheduler/sched-stats.rst: ns on a CPU, ns of waiting for one, time slices. Not in each
 * kernel.
 */
const SCHED_STATISTICS = "/proc/thread-self/schedstat";
const LINE_BYTES = 128;
const file = process.env["BENCH_LOOP_DELAY_FILE"];

/** How long this thread has waited for a CPU that another had, until now, in ms; always 0 where the kernel has no count of it. */
function waitedMsReader(): () => number {
  let fd: number;
  try {
    fd = openSync(SCHED_STATISTICS, "r");
  } catch {
    return () => 0;
  }
  const line = Buffer.alloc(LINE_BYTES);
  return () => {
    const length = readSync(fd, line, 0, LINE_BYTES, 0);
    return Number(line.toString("latin1", 0, length).split(" ")[1]) / 1e6;
  };
}

/** Begins to watch. What it returns says what was seen since it was called last. */
function watch(): () => LoopDelay {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const waitedMs = waitedMsReader();
  let last = { atMs: performance.now(), waitedMs: waitedMs() };
  let heldMs = 0;
  setInterval(() => {
    const now = { atMs: performance.now(), waitedMs: waitedMs() };
    const waited = now.waitedMs - last.waitedMs;
    heldMs = Math.max(heldMs, now.atMs - last.atMs - RESOLUTION_MS - waited);
    last = now;
  }, RESOLUTION_MS).unref();
  // The sampling timer's own period is in each value.
  const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  return () => {
    const seen = {
      medianMs: ms(delay.percentile(50)),
      p99Ms: ms(delay.percentile(99)),
      maxMs: ms(delay.max),
      heldMs,
    };
    delay.reset();
    heldMs = 0;
    return seen;
  };
}

if (isMainThread && file !== undefined) {
  let seen: (() => LoopDelay) | undefined;
  process.on("SIGUSR2", () => {
    seen ??= watch();
    writeFileSync(file, `${JSON.stringify(seen())}\n`);
  });
}
