/** One worker of the crash soak: every `step`th history, in a folder of its own. */
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import type { WorkerReport, WorkerTask } from "./crash-soak.ts";
import { install, real } from "./intercept.ts";
import { seedOf } from "./random.ts";

install();
/** Errors are made by the thousand here, and most are expected: long stacks would cost a tenth of it. */
Error.stackTraceLimit = 8;
// After the built-ins were replaced, so that the engine binds to them as they now are.
const { runHistory } = await import("./history.ts");

/** Reports go in batches: a message per history would cost more than some histories. */
const BATCH = 50;

function send(batch: readonly WorkerReport[]): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port has none
  parentPort?.postMessage(batch);
}

const { folder, seed, first, step, end, verbose } = workerData as WorkerTask;
let reports: WorkerReport[] = [];
real.mkdirSync(folder, { mode: 0o700 });
for (let number = first; number < end; number += step) {
  const base = join(folder, String(number));
  const { finding, trace, recent } = await runHistory(base, seedOf(seed, number));
  real.rmSync(base, { recursive: true, force: true });
  reports.push({
    number,
    trace,
    ...(finding === undefined
      ? {}
      : { finding: { kind: finding.kind, message: `${finding.message}\n${recent.join("\n")}` } }),
    ...(verbose ? { recent } : {}),
  });
  if (reports.length < BATCH) continue;
  send(reports);
  reports = [];
}
send(reports);
