/** What the tests of crashes and faults share: a pool on a simulated kernel, deaths, and the judge. */
import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { ChangeWatch, createSimKernel, SimCrash, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { openPool } from "./open-pool.ts";
import type { PoolBacking, ThinPool } from "./pool.ts";
import type { CommitObserver } from "./store/database.ts";

/** A tmpfs: thousands of ledgers are made here, and the deaths are simulated, so no disk is needed. */
const MEMORY_FOLDER = "/dev/shm";
export const SIZES: Extract<PoolBacking, { type: "files" }> = {
  type: "files",
  dataBytes: 64n << 20n,
  metadataBytes: 4n << 20n,
};
const DEVICE_BYTES = 4n << 20n;
/** Written into "idle": what it and what is reverted to it must have. */
const MARK_AT_BYTES = 2n << 20n;
const IDLE_MARK: Buffer = Buffer.alloc(4096, "idle");
/** More points than any operation has: a test that reaches it is going round in circles. */
export const MAX_POINTS = 200;
const folders: string[] = [];

export async function removeFolders(): Promise<void> {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}

/** A machine with an empty place for a pool. */
export async function emptyWorld(): Promise<World> {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-crash-"));
  folders.push(parent);
  const world: World = {
    folder: join(parent, "pool"),
    kernel: createSimKernel(),
    saved: undefined,
    commitListener: undefined,
    onCommit: (phase, commit) => world.commitListener?.(phase, commit),
  };
  return world;
}

export function openWorld(world: World): Promise<ThinPool> {
  return openPool(quiet(world));
}

export interface World {
  readonly folder: string;
  kernel: SimKernel;
  /** The pool's folder as it was when the process died; undefined while it lives. */
  saved: { readonly copy: string; readonly existed: boolean } | undefined;
  /** Told of the commits of every pool opened in this world. */
  commitListener: CommitObserver | undefined;
  readonly onCommit: CommitObserver;
}

/** Without the monitor: its looks would come between the boundaries that are counted. */
export function quiet(world: World): {
  readonly folder: string;
  readonly kernel: SimKernel;
  readonly monitor: false;
  readonly onCommit: CommitObserver;
} {
  const { folder, kernel, onCommit } = world;
  return { folder, kernel, onCommit, monitor: false };
}

/** The ledger's files change in place; the others only come and go, and loops know them by inode. */
function keep(from: string, to: string, name: string): void {
  const take = name.startsWith("pool.sqlite") ? copyFileSync : linkSync;
  take(join(from, name), join(to, name));
}

function saveFolder(world: World): void {
  const copy = mkdtempSync(join(MEMORY_FOLDER, "thinpool-crash-saved-"));
  const existed = existsSync(world.folder);
  for (const name of existed ? readdirSync(world.folder) : []) keep(world.folder, copy, name);
  world.saved = { copy, existed };
}

function restoreFolder(world: World): void {
  assert.ok(world.saved !== undefined);
  const { copy, existed } = world.saved;
  rmSync(world.folder, { recursive: true, force: true });
  if (existed) mkdirSync(world.folder, { mode: 0o700 });
  for (const name of readdirSync(copy)) keep(copy, world.folder, name);
  rmSync(copy, { recursive: true });
  world.saved = undefined;
}

/**
 * Runs `body` and dies at the boundary with this number, before or after a kernel call or a commit of
 * the ledger; false where `body` has fewer.
 */
export async function dieAt(
  world: World,
  point: number,
  body: () => Promise<unknown>,
): Promise<boolean> {
  let seen = 0;
  const boundary = (what: string): void => {
    if (world.saved === undefined && seen === point) {
      saveFolder(world);
      world.kernel.die(what);
    }
    seen += 1;
    if (world.saved !== undefined) throw new SimCrash(what);
  };
  const stop = world.kernel.onCall((call) =>
    boundary(`${call.phase} ${call.operation} ${call.detail}`),
  );
  world.commitListener = (phase, commit) => boundary(`${phase} the commit "${commit}"`);
  // What it rejects with is the crash, dressed up by the roll-back: the next open judges.
  await body().catch(() => undefined);
  stop();
  world.commitListener = undefined;
  return world.saved !== undefined;
}

/** The boundaries of `body` that leave another machine than the one before them: see `dieAt`. */
export async function differingPoints(
  world: World,
  body: () => Promise<unknown>,
): Promise<readonly number[]> {
  const watch = new ChangeWatch();
  const points: number[] = [];
  let seen = 0;
  const boundary = (phase: "before" | "after", operation: string): void => {
    if (watch.mayDiffer({ phase, operation })) points.push(seen);
    seen += 1;
  };
  const stop = world.kernel.onCall(({ phase, operation }) => boundary(phase, operation));
  world.commitListener = (phase, commit) => boundary(phase, commit);
  await body();
  stop();
  world.commitListener = undefined;
  assert.ok(seen < MAX_POINTS);
  return points;
}

/** The next life: of the process, or of the machine. */
export function revive(world: World, death: Death): void {
  restoreFolder(world);
  if (death === "process") world.kernel.processDeath();
  else world.kernel = world.kernel.powerCut();
}

export type Death = "process" | "machine";

export interface Operation {
  readonly name: string;
  readonly run: (pool: ThinPool, told: Told) => Promise<unknown>;
  /** The names that may be there afterwards: all before, or all after. */
  readonly outcomes: readonly (readonly string[])[];
  /** It has a step from which there is no way back. */
  readonly deletes?: true;
  /** "base" may have the content of "idle" afterwards. */
  readonly reverts?: true;
}

/** What callers were told before the death: it must hold after it. */
export interface Told {
  readonly made: string[];
  readonly removed: string[];
}

export const BEFORE: readonly string[] = ["active", "base", "idle", "live"];
const without = (...names: readonly string[]): readonly string[] =>
  BEFORE.filter((name) => !names.includes(name));
const withNew = (...names: readonly string[]): readonly string[] =>
  [...BEFORE, ...names].toSorted();

/** Several at once; each tells what it has done. */
async function atOnce(
  pool: ThinPool,
  told: Told,
  snapshots: readonly string[],
  removals: readonly string[],
): Promise<void> {
  const results = await Promise.allSettled([
    ...snapshots.map(async (name) => {
      await pool.snapshot({ origin: name.startsWith("live") ? "live" : "base", name });
      told.made.push(name);
    }),
    ...removals.map(async (name) => {
      await pool.remove({ name });
      told.removed.push(name);
    }),
  ]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

export const OPERATIONS: readonly Operation[] = [
  {
    name: "createDevice",
    run: (pool) => pool.createDevice({ name: "new", sizeBytes: DEVICE_BYTES }),
    outcomes: [BEFORE, withNew("new")],
  },
  {
    name: "createDevice without a filesystem",
    run: (pool) => pool.createDevice({ name: "new", sizeBytes: DEVICE_BYTES, filesystem: "none" }),
    outcomes: [BEFORE, withNew("new")],
  },
  {
    name: "snapshot with activate",
    run: (pool) => pool.snapshot({ origin: "base", name: "new", activate: true }),
    outcomes: [BEFORE, withNew("new")],
  },
  {
    name: "snapshot of an active origin",
    run: (pool) => pool.snapshot({ origin: "active", name: "new" }),
    outcomes: [BEFORE, withNew("new")],
  },
  {
    name: "snapshotMany of active and inactive origins",
    run: (pool) =>
      pool.snapshotMany({
        snapshots: ["active", "base", "live"].map((origin) => ({ origin, name: `new-${origin}` })),
      }),
    outcomes: [BEFORE, withNew("new-active", "new-base", "new-live")],
  },
  {
    name: "a group of snapshots of one active origin and one inactive",
    run: (pool, told) => atOnce(pool, told, ["live-1", "live-2", "new"], []),
    outcomes: [BEFORE, withNew("live-1", "live-2", "new")],
  },
  {
    name: "a group of creations and a deletion",
    run: (pool, told) => atOnce(pool, told, ["live-1", "new"], ["idle"]),
    outcomes: [
      BEFORE,
      // Two operations that know nothing of each other: either may be done first, and goes forward or back.
      without("idle"),
      withNew("live-1", "new"),
      withNew("live-1", "new").filter((name) => name !== "idle"),
    ],
    deletes: true,
  },
  {
    name: "remove of an active device",
    run: (pool) => pool.remove({ name: "active" }),
    outcomes: [BEFORE, without("active")],
    deletes: true,
  },
  {
    name: "rename of an active device",
    run: (pool) => pool.rename({ name: "active", to: "new" }),
    outcomes: [BEFORE, [...without("active"), "new"]],
  },
  {
    name: "resize of an active device",
    run: (pool) => pool.resize({ name: "active", sizeBytes: 2n * DEVICE_BYTES }),
    outcomes: [BEFORE],
  },
  {
    name: "revert of an active device",
    run: async (pool) => {
      await pool.activate({ name: "base" });
      await pool.revert({ name: "base", snapshot: "idle" });
    },
    outcomes: [BEFORE],
    deletes: true,
    reverts: true,
  },
  {
    name: "update",
    run: (pool) => pool.update({ name: "active", ownerUid: 7, labels: { a: "b" } }),
    outcomes: [BEFORE],
  },
  {
    name: "activate",
    run: (pool) => pool.activate({ name: "base" }),
    outcomes: [BEFORE],
  },
];

/** An open pool with inactive devices "base" and "idle" and active ones "active" and "live". */
export async function prepare(): Promise<{ world: World; pool: ThinPool }> {
  const world = await emptyWorld();
  const pool = await createPool({ ...quiet(world), backing: SIZES });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await Promise.all([
    pool.snapshot({ origin: "base", name: "active", activate: true }),
    pool.snapshot({ origin: "base", name: "live", activate: true }),
    pool.snapshot({ origin: "base", name: "idle", activate: true }),
  ]);
  const { path } = pool.get({ name: "idle" });
  await world.kernel.write(path, MARK_AT_BYTES, IDLE_MARK);
  await world.kernel.flush(path);
  await pool.deactivate({ name: "idle" });
  return { world, pool };
}

/** Opens the pool and checks the invariants; leaves nothing. */
export async function check(world: World, operation: Operation, told?: Told): Promise<void> {
  // What recovery did must hold for the next open too, with nothing done in between.
  await (await openWorld(world)).detach();
  const pool = await openWorld(world);
  const devices = pool.list();
  const names: readonly string[] = devices.map((device) => device.name);
  assert.ok(
    operation.outcomes.some((outcome) => outcome.join() === names.join()),
    `after the crash there is ${names.join()}`,
  );
  for (const name of told?.made ?? []) assert.ok(names.includes(name), `${name} was lost`);
  for (const name of told?.removed ?? []) assert.ok(!names.includes(name), `${name} came back`);
  const live = await world.kernel.dm.listDevices();
  const poolName = live.map((entry) => entry.name).find((name) => name.endsWith("-pool"));
  const ids = world.kernel.checkMetadata(`/dev/mapper/${poolName}`);
  // No id leaked, none missing.
  assert.deepEqual(
    [...ids].toSorted((a, b) => a - b),
    devices.map((device) => Number(device.thinId)).toSorted((a, b) => a - b),
  );
  for (const { dev } of live) {
    assert.equal((await world.kernel.dm.deviceStatus({ dev })).suspended, false);
  }
  // Every device still works, and so does the pool.
  for (const { name, active, filesystem, path, sizeBytes } of devices) {
    // A snapshot of a live device that is not known to be would be taken without suspending it.
    assert.equal(
      active,
      live.some((entry) => path === `/dev/mapper/${entry.name}`),
      name,
    );
    await pool.activate({ name });
    assert.equal(await world.kernel.blocks.sizeBytes(path), sizeBytes);
    const mark = await world.kernel.read(path, MARK_AT_BYTES, IDLE_MARK.length);
    const marked = mark.equals(IDLE_MARK);
    assert.ok(marked || mark.equals(Buffer.alloc(IDLE_MARK.length)));
    if (name !== "base" || operation.reverts !== true) assert.equal(marked, name === "idle");
    const signature = await world.kernel.blocks.signature(path);
    assert.equal(signature?.type ?? "none", filesystem, `the content of ${name}`);
  }
  await pool.snapshot({ origin: "base", name: "next" });
  // The next transaction brings nothing else to life.
  assert.deepEqual(
    pool.list().map((device) => device.name),
    [...names, "next"].toSorted(),
  );
  await pool.close();
  assert.deepEqual(await world.kernel.leftovers(), []);
}
