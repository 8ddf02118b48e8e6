/**
 * `./run soak flush`: one load is recorded, write by write; then the disk is rebuilt as it was at every
 * flush, and with a random part of what was written after it, and each is opened and checked.
 */
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closingLine, type FindingKind, type Totals } from "./finding.ts";
import type { FlushCheckTask } from "./flush-check-guest.ts";
import { DiskImage, LOG_FLAGS, WriteLog } from "./flush-log.ts";
import { MARKS } from "./flush-marks.ts";
import type { RecordTask } from "./flush-record-guest.ts";
import type { LoadRecord } from "./guest-check.ts";
import { compileForGuest, runInLab } from "./lab-process.ts";
import { Random } from "./random.ts";
import { soakOptions, wholeNumber } from "./soak-options.ts";
import { stopCode } from "./stop.ts";

const MEMORY_FOLDER = "/dev/shm";
const DISK_MIB = 384;
const DISK_BYTES = DISK_MIB * 2 ** 20;
const LOG_MIB = 8192;
const GUEST_MIB = 512;
const GUEST_TIMEOUT_SECONDS = 900;
const WORKERS = 4;
/** A step is good for some five flushes; half of the disks are flushes, half are parts. */
const DISKS_PER_STEP = 12;
const STEPS = { least: 6, most: 80 } as const;
/** Each takes some 10 MiB of memory until its guest has seen them all. */
const MOST_DISKS_PER_BOOT = 100;

const values = soakOptions({
  disks: { type: "string", default: "100" },
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  log: { type: "string" },
  disk: { type: "string" },
  guests: { type: "string", default: "2" },
});
const seed = wholeNumber(values.seed, "seed");
const wanted = wholeNumber(values.disks, "disks");
const only = values.disk === undefined ? undefined : wholeNumber(values.disk, "disk");
const guests = wholeNumber(values.guests, "guests");

const startedAtMs = performance.now();
const totals: Totals = { tried: 0, lost: 0, leaked: 0, failed: 0 };
const folder = mkdtempSync(join(MEMORY_FOLDER, "thinpool-flush-"));
/** Where the log stays when something was found: a load never runs the same way twice. */
const keptLog = values.log ?? join(tmpdir(), `thinpool-flush-${seed}-${process.pid}.log`);

async function record(task: RecordTask, disk: string, log: string): Promise<void> {
  let recorded = false;
  const { exitCode, said } = await runInLab({
    memoryMiB: GUEST_MIB,
    timeoutSeconds: GUEST_TIMEOUT_SECONDS,
    options: ["--disk", `disk=${disk}:${DISK_MIB}M`, "--disk", `log=${log}:${LOG_MIB}M`],
    program: "flush-record-guest.ts",
    task,
    onLine: (line) => {
      recorded ||= line === "recorded";
    },
  });
  if (!recorded) throw new Error(`the load was not recorded (exit code ${exitCode}): ${said}`);
}

/** A disk to rebuild: all entries up to the flush, and of those up to the next one a part. */
interface Rebuilt {
  readonly number: number;
  /** Index in the log of the last entry that is whole. */
  readonly flush: number;
  /** Undefined: nothing beyond the flush. Else the seed of the part. */
  readonly part: number | undefined;
}

/** Half of the disks stand at flushes, or all flushes where there are not so many; the rest has parts. */
function choose(flushes: readonly number[], random: Random): readonly Rebuilt[] {
  const whole = Math.min(flushes.length, Math.ceil(wanted / 2));
  const picked = Array.from({ length: whole }, (_, index) => {
    const at = Math.floor((index * flushes.length) / whole);
    return { flush: flushes[at] ?? 0, part: undefined };
  });
  const parts = Array.from({ length: wanted - whole }, () => ({
    flush: random.pick(flushes),
    part: random.next(),
  }));
  return [...picked, ...parts]
    .toSorted((a, b) => a.flush - b.flush)
    .map((disk, number) => ({ ...disk, number }));
}

/** What was acknowledged when the log had so many entries. */
function recordAt(log: WriteLog, end: number): LoadRecord {
  const marks = log.entries.slice(0, end).flatMap(({ mark }) => (mark === undefined ? [] : [mark]));
  const workers = Array.from({ length: WORKERS }, () => ({ state: {}, acknowledged: 0 }));
  for (const mark of marks) {
    const [word, worker, steps] = mark.split(".");
    const found = workers[Number(worker)];
    if (word === MARKS.acknowledged && found !== undefined) found.acknowledged = Number(steps);
  }
  return { seed, workers, created: marks.includes(MARKS.created) };
}

function take(line: string): void {
  const match = /^disk (\d+) (.*)$/.exec(line);
  if (match === null) return;
  totals.tried += 1;
  const { kind, message } = JSON.parse(match[2] ?? "{}") as {
    kind?: FindingKind;
    message?: string;
  };
  if (kind === undefined) return;
  totals[kind] += 1;
  process.stderr.write(
    `soak flush: ${kind}: disk ${match[1]}: ${message}\n` +
      `replay: ./run soak flush --log ${keptLog} --disks ${wanted} --seed ${seed} --disk ${match[1]}\n`,
  );
}

interface Built {
  readonly number: number;
  readonly record: LoadRecord;
}

async function check(file: string, disks: readonly Built[]): Promise<void> {
  const before = totals.tried;
  const { exitCode, said } = await runInLab({
    memoryMiB: GUEST_MIB,
    timeoutSeconds: GUEST_TIMEOUT_SECONDS,
    options: ["--disk", `disks=${file}`],
    program: "flush-check-guest.ts",
    task: {
      device: "/dev/disk/lab/disks",
      diskBytes: DISK_BYTES,
      disks,
    } satisfies FlushCheckTask,
    onLine: take,
  });
  if (exitCode === 0 || stopCode() !== undefined) return;
  totals.failed += 1;
  process.stderr.write(
    `soak flush: failed: a guest ended with ${exitCode} after ${totals.tried - before} disks: ${said}\n`,
  );
}

/** Builds in the order of the log, one image growing; hands full batches to the guests. */
async function checkAll(log: WriteLog, disks: readonly Rebuilt[]): Promise<void> {
  const image = new DiskImage();
  const running = new Set<Promise<void>>();
  let applied = 0;
  const perBoot = Math.min(MOST_DISKS_PER_BOOT, Math.ceil(disks.length / guests));
  for (let first = 0; first < disks.length; first += perBoot) {
    if (running.size >= guests) await Promise.race(running);
    if (stopCode() !== undefined) break;
    const file = join(folder, `disks-${first}`);
    const fd = openSync(file, "wx", 0o600);
    const batch = disks.slice(first, first + perBoot).map((disk, index) => {
      for (; applied <= disk.flush; applied += 1) {
        const entry = log.entries[applied];
        if (entry !== undefined) image.apply(log, entry);
      }
      const built = build(log, image, disk);
      built.image.writeTo(fd, index * DISK_BYTES);
      return { number: disk.number, record: built.record };
    });
    ftruncateSync(fd, batch.length * DISK_BYTES);
    closeSync(fd);
    const run = check(file, batch).finally(() => {
      running.delete(run);
      rmSync(file);
      process.stderr.write(`soak flush: ${totals.tried} of ${disks.length}\n`);
    });
    running.add(run);
  }
  await Promise.all(running);
}

/** The disk as it may have been, and what must be in it. */
function build(
  log: WriteLog,
  at: DiskImage,
  disk: Rebuilt,
): { readonly image: DiskImage; readonly record: LoadRecord } {
  if (disk.part === undefined) return { image: at, record: recordAt(log, disk.flush + 1) };
  const random = new Random(disk.part);
  const next = log.entries.findIndex(
    ({ flags }, index) => index > disk.flush && (flags & LOG_FLAGS.flush) !== 0,
  );
  const end = next === -1 ? log.entries.length : next;
  const image = at.copy();
  for (const entry of log.entries.slice(disk.flush + 1, end)) {
    // What was written through is durable by itself.
    if ((entry.flags & LOG_FLAGS.fua) !== 0 || random.chance(50)) image.apply(log, entry);
  }
  return { image, record: recordAt(log, end) };
}

/** The load's log, recorded now. */
async function recordLog(): Promise<string> {
  const [disk, logFile] = [join(folder, "disk"), join(folder, "log")];
  const most = Math.ceil(wanted / DISKS_PER_STEP / WORKERS);
  const steps = Math.min(STEPS.most, Math.max(STEPS.least, most));
  process.stderr.write(
    `soak flush: ${wanted} disks, seed ${seed}; recording ${steps} steps each\n`,
  );
  const devices = { disk: "/dev/disk/lab/disk", log: "/dev/disk/lab/log" };
  await record({ ...devices, seed, workers: WORKERS, steps }, disk, logFile);
  rmSync(disk);
  return logFile;
}

try {
  await compileForGuest("flush-record-guest.ts");
  await compileForGuest("flush-check-guest.ts");
  const path = values.log ?? (await recordLog());
  const log = new WriteLog(path);
  // A copy of the sparse file that it was recorded in would have all its zeros.
  if (values.log === undefined) truncateSync(path, log.lengthBytes);
  const mounted = log.entries.findIndex(({ mark }) => mark === MARKS.mounted);
  const flushes = [...log.entries.keys()].filter(
    (index) => index > mounted && ((log.entries[index]?.flags ?? 0) & LOG_FLAGS.flush) !== 0,
  );
  process.stderr.write(
    `soak flush: ${log.entries.length} entries, ${flushes.length} flushes since the mount\n`,
  );
  const disks = choose(flushes, new Random(seed));
  await checkAll(log, only === undefined ? disks : disks.filter(({ number }) => number === only));
  log.close();
  const clean = totals.lost === 0 && totals.leaked === 0 && totals.failed === 0;
  if (!clean && values.log === undefined) copyFileSync(path, keptLog);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const exitCode = closingLine("flush", seed, totals, startedAtMs);
process.exitCode = stopCode() ?? exitCode;
