/**
 * In the lab's guest, one boot of the power soak: the pool that the last cut left is checked, then a
 * load runs until the power goes. First by dm-flakey, which drops every write from one moment on, as
 * often as asked; then for good, by the host that kills the guest at a random moment, or at a named
 * point, where everything stands still until it does.
 *
 * stdout, line by line, is what the host knows: `phase WHAT`, `checked STATES`, `acknowledged WORKER
 * STEPS`, and `hangs PHASE` where nothing goes on.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { dmName, flakeyToParams, sectors } from "@thinpool/dm-native";
import { createPool, linuxKernel, openPool } from "@thinpool/thinpool";
import { Finding } from "./finding.ts";
import { checkFolder, type LoadRecord } from "./guest-check.ts";
import { makeBase, startLoad } from "./guest-load.ts";
import { unmountRetrying } from "./guest-pool.ts";
import { withPoint } from "./guest-points.ts";
import { ToolShell, withShell } from "./guest-tools.ts";
import { Random, seedOf } from "./random.ts";
import type { WorkerState } from "./worker-plan.ts";

export interface PowerTask {
  readonly device: string;
  /** Of this boot: the lives of its loads are numbered from it. */
  readonly seed: number;
  /** What the last cut must have left; undefined on a new disk. */
  readonly record?: LoadRecord;
  /** A filesystem and a pool are made anew, after the check. */
  readonly fresh: boolean;
  /** Only check: no cut follows. */
  readonly last: boolean;
  /** Cuts by dm-flakey before the last one. */
  readonly flakeyCuts: number;
  /** Where the last one is, unless at a random moment. */
  readonly point?: { readonly name: string; readonly times: number };
}

const run = promisify(execFile);
const DISK = "/mnt/disk";
const FOLDER = `${DISK}/pool`;
const FLAKEY = { name: dmName("soak-flakey") } as const;
const WORKERS = 4;
const BACKING = { type: "files", dataBytes: 192n << 20n, metadataBytes: 4n << 20n } as const;
/** A load before dm-flakey drops its writes, and after: in ms. */
const LOAD_MS = [100, 1000] as const;
const DROPPED_MS = 100;
/** No phase takes a tenth of it, however slow the machine. */
const HANGS_AFTER_MS = 60_000;

const [, , given] = process.argv;
// The host compiles it: see compileForGuest.
if (given === undefined) process.exit();
const task = JSON.parse(given) as PowerTask;
const random = new Random(task.seed);
await using kernel = linuxKernel();
const { dm } = kernel;
await using shell = new ToolShell();

function say(...words: readonly string[]): void {
  writeSync(1, `${words.join(" ")}\n`);
}

let watchdog: NodeJS.Timeout | undefined;

/** From here on it does this, and says so where it takes far too long. */
function phase(what: string): void {
  say("phase", what);
  clearTimeout(watchdog);
  watchdog = setTimeout(
    () => say("hangs", JSON.stringify(`${what}; waiting in the kernel: ${waiting()}`)),
    HANGS_AFTER_MS,
  ).unref();
}

/** Threads of all processes that wait for the disk or a lock of the kernel, and where. */
function waiting(): string {
  const found: string[] = [];
  for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      for (const thread of readdirSync(`/proc/${id}/task`)) {
        const folder = `/proc/${id}/task/${thread}`;
        const stat = readFileSync(`${folder}/stat`, "utf8");
        if (!/\) D /.test(stat)) continue;
        const stack = readFileSync(`${folder}/stack`, "utf8").replaceAll(/\[<0>\] |\+.*/g, "");
        found.push(`${stat.split(")")[0]}) ${stack.trim().replaceAll("\n", " < ")}`);
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return found.join("; ") || "nobody";
}

async function loadFlakey(drops: boolean): Promise<void> {
  const device = await kernel.blocks.number(task.device);
  const lengthSectors = sectors((await kernel.blocks.sizeBytes(task.device)) / 512n);
  const table = { device, offsetSectors: sectors(0n) };
  const params = drops
    ? flakeyToParams({ ...table, upSeconds: 0, downSeconds: 3600, features: ["drop_writes"] })
    : flakeyToParams({ ...table, upSeconds: 3600, downSeconds: 0, features: [] });
  await dm.loadTable(FLAKEY, [
    { startSectors: sectors(0n), lengthSectors, type: "flakey", params },
  ]);
  // Without a flush: what the filesystem holds back is not to reach the disk by this. One call suspends
  // and resumes: in between, a commit of the ledger on this very thread would wait for the disk, and
  // nobody would be left to resume it.
  await dm.resume(FLAKEY, { noFlush: true, skipLockFs: true });
}

async function mountDisk(): Promise<void> {
  if (!existsSync("/dev/mapper/soak-flakey")) await dm.createDevice(FLAKEY.name);
  await loadFlakey(false);
  await mkdir(DISK, { recursive: true });
  await kernel.mounts.mount({
    source: "/dev/mapper/soak-flakey",
    type: "ext4",
    target: DISK,
    flags: {},
  });
}

/** All that the pool has in the kernel goes; its writes on the way are dropped. */
async function tearDown(): Promise<void> {
  const ours = (await dm.listDevices()).filter(({ name }) => name.startsWith("thinpool-"));
  const pools = ours.filter(({ name }) => name.endsWith("-pool"));
  for (const { name } of [...ours.filter((device) => !pools.includes(device)), ...pools]) {
    await dm.removeDevice({ name });
  }
  for (const loop of await kernel.loops.list()) await kernel.loops.detach(loop.path);
  await unmountRetrying(kernel, DISK);
}

async function check(record: LoadRecord): Promise<readonly WorkerState[]> {
  return (await checkFolder({ kernel, shell, folder: FOLDER, record })) ?? [];
}

/** A load until dm-flakey drops all writes; then what a reboot would find is checked. */
async function flakeyCut(seed: number, states: readonly WorkerState[]) {
  const acknowledged = states.map(() => 0);
  let heard = true;
  phase("opening the pool for a load");
  const pool = await openPool({ folder: FOLDER, kernel: withShell(kernel, shell) });
  phase("a load until writes are dropped");
  const load = startLoad({
    kernel,
    pool,
    seed,
    states,
    acknowledged: (worker, steps) => {
      if (heard) acknowledged[worker] = steps;
    },
  });
  await Promise.race([load.done, sleep(random.between(...LOAD_MS))]);
  heard = false;
  await loadFlakey(true);
  await sleep(DROPPED_MS);
  phase("the end of a load whose writes are dropped");
  // What runs on reads a disk that forgot: whatever it says, nobody hears it.
  await load.stop().catch(() => undefined);
  phase("detaching the pool");
  await pool.detach();
  phase("taking down what the load left");
  await tearDown();
  await mountDisk();
  phase("checking what dropped writes left");
  const workers = states.map((state, index) => ({ state, acknowledged: acknowledged[index] ?? 0 }));
  const found = await check({ seed, workers, created: true });
  say("cut flakey", JSON.stringify(acknowledged));
  return found;
}

/** A new filesystem with a new pool on the disk. */
async function begin(): Promise<readonly WorkerState[]> {
  await run("/usr/sbin/mkfs.ext4", ["-q", "-F", task.device]);
  await mountDisk();
  const pool = await createPool({ folder: FOLDER, kernel, backing: BACKING, blockSectors: 128n });
  await makeBase(pool);
  await pool.close();
  return Array.from({ length: WORKERS }, () => ({}));
}

async function loadUntilCut(states: readonly WorkerState[]): Promise<void> {
  const { point } = task;
  phase("opening the pool for the last load");
  const quick = withShell(kernel, shell);
  const watched = point === undefined ? quick : withPoint(quick, point.name, point.times);
  const pool = await openPool({ folder: FOLDER, kernel: watched });
  phase("the last load");
  say("loading");
  const acknowledged = (worker: number, steps: number): void =>
    say("acknowledged", String(worker), String(steps));
  await startLoad({ kernel: watched, pool, seed: task.seed, states, acknowledged }).done;
}

async function boot(): Promise<void> {
  let states: readonly WorkerState[] = [];
  if (task.record !== undefined) {
    phase("checking what the cut left");
    await mountDisk();
    states = await check(task.record);
    say("survived");
    if (task.fresh) {
      await unmountRetrying(kernel, DISK);
      await dm.removeDevice(FLAKEY);
    }
  }
  if (task.last) return;
  phase("making a pool");
  if (task.fresh) states = await begin();
  for (let cut = 0; cut < task.flakeyCuts; cut += 1) {
    states = await flakeyCut(seedOf(task.seed, cut + 1), states);
  }
  say("checked", JSON.stringify(states));
  await loadUntilCut(states);
}

try {
  await boot();
  clearTimeout(watchdog);
} catch (error) {
  const kind = error instanceof Finding ? error.kind : "failed";
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  say("finding", JSON.stringify({ kind, message: text }));
  process.exitCode = 1;
}
