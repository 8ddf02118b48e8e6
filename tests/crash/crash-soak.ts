/**
 * `./run soak crash`: random histories over the simulated kernel, shared out to workers.
 * stdout gets the closing line, stderr progress and findings with the seed that replays each.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { closingLine, type FindingKind, type Totals } from "./finding.ts";
import { soakOptions, wholeNumber } from "./soak-options.ts";
import { onStop, stopCode } from "./stop.ts";

/** A tmpfs: what is durable is modelled, so no disk has to be waited for. */
const MEMORY_FOLDER = "/dev/shm";
const MAX_WORKERS = 4;
const PROGRESS_MS = 5000;
/** Findings beyond these are counted, not shown. */
const MAX_SHOWN = 10;

export interface WorkerTask {
  readonly folder: string;
  readonly seed: number;
  readonly first: number;
  readonly step: number;
  readonly end: number;
  readonly verbose: boolean;
}

export interface WorkerReport {
  readonly number: number;
  readonly finding?: { readonly kind: FindingKind; readonly message: string };
  readonly recent?: readonly string[];
  readonly trace: number;
}

const values = soakOptions({
  histories: { type: "string", default: "1000" },
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  history: { type: "string" },
  "until-found": { type: "boolean", default: false },
  workers: { type: "string", default: String(Math.min(MAX_WORKERS, availableParallelism())) },
});
const seed = wholeNumber(values.seed, "seed");
const only = values.history === undefined ? undefined : wholeNumber(values.history, "history");
const first = only ?? 0;
const end = only === undefined ? wholeNumber(values.histories, "histories") : only + 1;
const workers = only === undefined ? wholeNumber(values.workers, "workers") : 1;

const startedAtMs = performance.now();
const totals: Totals = { tried: 0, lost: 0, leaked: 0, failed: 0 };
const base = mkdtempSync(join(MEMORY_FOLDER, "thinpool-crash-"));
const stops: (() => void)[] = [];
let shown = 0;

function take(report: WorkerReport): void {
  totals.tried += 1;
  if (only !== undefined) {
    process.stderr.write(`${(report.recent ?? []).join("\n")}\ntrace ${report.trace}\n`);
  }
  if (report.finding === undefined) return;
  totals[report.finding.kind] += 1;
  if (values["until-found"]) for (const stop of stops) stop();
  shown += 1;
  if (shown > MAX_SHOWN) return;
  process.stderr.write(
    `soak crash: ${report.finding.kind}: history ${report.number}: ${report.finding.message}\n` +
      `replay: ./run soak crash --seed ${seed} --history ${report.number}\n`,
  );
}

function work(index: number): Promise<void> {
  const task: WorkerTask = {
    folder: join(base, String(index)),
    seed,
    first: first + index,
    step: workers,
    end,
    verbose: only !== undefined,
  };
  const worker = new Worker(new URL("./crash-worker.ts", import.meta.url), { workerData: task });
  stops.push(() => void worker.terminate());
  onStop(() => void worker.terminate());
  worker.on("message", (reports: readonly WorkerReport[]) => reports.forEach(take));
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("exit", (code) =>
      code === 0 || values["until-found"] || stopCode() !== undefined
        ? resolve()
        : reject(new Error(`a worker ended with ${code}`)),
    );
  });
}

const progress = setInterval(() => {
  const found = totals.lost + totals.leaked + totals.failed;
  process.stderr.write(`soak crash: ${totals.tried} of ${end - first}, ${found} findings\n`);
}, PROGRESS_MS);
try {
  process.stderr.write(`soak crash: ${end - first} histories, seed ${seed}, ${workers} workers\n`);
  await Promise.all(Array.from({ length: workers }, (_, index) => work(index)));
} finally {
  clearInterval(progress);
  rmSync(base, { recursive: true, force: true });
}
const exitCode = closingLine("crash", seed, totals, startedAtMs);
process.exitCode = stopCode() ?? exitCode;
