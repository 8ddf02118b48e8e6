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
import { createSimKernel, SimCrash, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { openPool } from "./open-pool.ts";
import type { PoolBacking, ThinPool } from "./pool.ts";

/** A tmpfs: thousands of ledgers are made here, and the deaths are simulated, so no disk is needed. */
const MEMORY_FOLDER = "/dev/shm";
export const SIZES: Extract<PoolBacking, { type: "files" }> = {
  type: "files",
  dataBytes: 64n << 20n,
  metadataBytes: 4n << 20n,
};
const DEVICE_BYTES = 4n << 20n;
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
  return { folder: join(parent, "pool"), kernel: createSimKernel(), saved: undefined };
}

export interface World {
  readonly folder: string;
  kernel: SimKernel;
  /** The pool's folder as it was when the process died; undefined while it lives. */
  saved: { readonly copy: string; readonly existed: boolean } | undefined;
}

/** Without the monitor: its looks would come between the boundaries that are counted. */
export function at(world: World): {
  readonly folder: string;
  readonly kernel: SimKernel;
  readonly monitor: false;
} {
  return { folder: world.folder, kernel: world.kernel, monitor: false };
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

/** Runs `body` and dies at the boundary with this number; false where `body` has fewer. */
export async function dieAt(
  world: World,
  point: number,
  body: () => Promise<unknown>,
): Promise<boolean> {
  let seen = 0;
  const stop = world.kernel.onCall((call) => {
    if (seen === point) {
      saveFolder(world);
      throw new SimCrash(`${call.phase} ${call.operation} ${call.detail}`);
    }
    seen += 1;
  });
  // What it rejects with is the crash, dressed up by the roll-back: the next open judges.
  await body().catch(() => undefined);
  stop();
  return world.saved !== undefined;
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
  readonly run: (pool: ThinPool) => Promise<unknown>;
  /** The names that may be there afterwards: all before, or all after. */
  readonly outcomes: readonly (readonly string[])[];
}

export const BEFORE: readonly string[] = ["active", "base"];
export const OPERATIONS: readonly Operation[] = [
  {
    name: "createDevice",
    run: (pool) => pool.createDevice({ name: "new", sizeBytes: DEVICE_BYTES }),
    outcomes: [BEFORE, [...BEFORE, "new"]],
  },
  {
    name: "snapshot with activate",
    run: (pool) => pool.snapshot({ origin: "base", name: "new", activate: true }),
    outcomes: [BEFORE, [...BEFORE, "new"]],
  },
  {
    name: "snapshot of an active origin",
    run: (pool) => pool.snapshot({ origin: "active", name: "new" }),
    outcomes: [BEFORE, [...BEFORE, "new"]],
  },
  {
    name: "remove of an active device",
    run: (pool) => pool.remove({ name: "active" }),
    outcomes: [BEFORE, ["base"]],
  },
  {
    name: "activate",
    run: (pool) => pool.activate({ name: "base" }),
    outcomes: [BEFORE],
  },
];

/** An open pool with an inactive device "base" and an active one "active". */
export async function prepare(): Promise<{ world: World; pool: ThinPool }> {
  const world = await emptyWorld();
  const pool = await createPool({ ...at(world), backing: SIZES });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.snapshot({ origin: "base", name: "active", activate: true });
  return { world, pool };
}

/** Opens the pool and checks the invariants; leaves nothing. */
export async function check(world: World, operation: Operation): Promise<void> {
  // What recovery did must hold for the next open too, with nothing done in between.
  await (await openPool(at(world))).detach();
  const pool = await openPool(at(world));
  const devices = pool.list();
  const names = devices.map((device) => device.name);
  assert.ok(
    operation.outcomes.some((outcome) => outcome.join() === names.join()),
    `after the crash there is ${names.join()}`,
  );
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
  for (const { name } of devices) await pool.activate({ name });
  await pool.snapshot({ origin: "base", name: "next" });
  // The next transaction brings nothing else to life.
  assert.deepEqual(
    pool.list().map((device) => device.name),
    [...names, "next"].toSorted(),
  );
  await pool.close();
  assert.deepEqual(await world.kernel.leftovers(), []);
}
