/**
 * The process dies, or the machine, right before or after every kernel call of every operation, and
 * again at every call of the recovery; then the pool is opened and checked (docs/INVARIANTS.md).
 *
 * A dead process writes nothing, but the code under test still runs its roll-back: so the ledger's
 * files are copied at the moment of death and put back before the next open.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { createSimKernel, SimCrash, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { openPool } from "./open-pool.ts";
import type { ThinPool } from "./pool.ts";

/** A tmpfs: thousands of ledgers are made here, and the deaths are simulated, so no disk is needed. */
const MEMORY_FOLDER = "/dev/shm";
const SIZES = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
const DEVICE_BYTES = 4n << 20n;
/** More points than any operation has: a test that reaches it is going round in circles. */
const MAX_POINTS = 200;
const folders: string[] = [];

after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

interface World {
  readonly folder: string;
  kernel: SimKernel;
  /** The ledger's files as they were when the process died. */
  saved: string | undefined;
}

function isLedgerFile(name: string): boolean {
  return name.startsWith("pool.sqlite");
}

function saveLedger(world: World): void {
  const saved = mkdtempSync(join(MEMORY_FOLDER, "thinpool-crash-ledger-"));
  for (const name of readdirSync(world.folder).filter(isLedgerFile)) {
    copyFileSync(join(world.folder, name), join(saved, name));
  }
  world.saved = saved;
}

function restoreLedger(world: World): void {
  assert.ok(world.saved !== undefined);
  for (const name of readdirSync(world.folder).filter(isLedgerFile)) {
    rmSync(join(world.folder, name));
  }
  for (const name of readdirSync(world.saved)) {
    copyFileSync(join(world.saved, name), join(world.folder, name));
  }
  rmSync(world.saved, { recursive: true });
  world.saved = undefined;
}

/** Runs `body` and dies at the boundary with this number; false where `body` has fewer. */
async function dieAt(world: World, point: number, body: () => Promise<unknown>): Promise<boolean> {
  let seen = 0;
  const stop = world.kernel.onCall((call) => {
    if (seen === point) {
      saveLedger(world);
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
function revive(world: World, death: Death): void {
  restoreLedger(world);
  if (death === "process") world.kernel.processDeath();
  else world.kernel = world.kernel.powerCut();
}

type Death = "process" | "machine";

interface Operation {
  readonly name: string;
  readonly run: (pool: ThinPool) => Promise<unknown>;
  /** The names that may be there afterwards: all before, or all after. */
  readonly outcomes: readonly (readonly string[])[];
}

const BEFORE = ["active", "base"];
const OPERATIONS: readonly Operation[] = [
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

async function prepare(): Promise<{ world: World; pool: ThinPool }> {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-crash-"));
  folders.push(parent);
  const kernel = createSimKernel();
  const world: World = { folder: join(parent, "pool"), kernel, saved: undefined };
  const pool = await createPool({ folder: world.folder, kernel, backing: SIZES });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.snapshot({ origin: "base", name: "active", activate: true });
  return { world, pool };
}

async function check(world: World, operation: Operation): Promise<void> {
  const pool = await openPool({ folder: world.folder, kernel: world.kernel });
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
  await pool.close();
  assert.deepEqual(await world.kernel.leftovers(), []);
}

for (const operation of OPERATIONS) {
  for (const death of ["process", "machine"] as const) {
    test(`${operation.name}: the ${death} dies at every boundary`, async (t) => {
      let point = 0;
      for (; point < MAX_POINTS; point += 1) {
        const { world, pool } = await prepare();
        const died = await dieAt(world, point, () => operation.run(pool));
        if (!died) break;
        await pool.detach();
        revive(world, death);
        await check(world, operation);
      }
      assert.ok(point > 0 && point < MAX_POINTS);
      t.diagnostic(`${point} boundaries`);
    });
  }

  test(`${operation.name}: and again at every boundary of the recovery`, async (t) => {
    let tried = 0;
    for (let point = 0; point < MAX_POINTS; point += 1) {
      let reached = false;
      for (let again = 0; again < MAX_POINTS; again += 1) {
        const { world, pool } = await prepare();
        reached = await dieAt(world, point, () => operation.run(pool));
        if (!reached) break;
        await pool.detach();
        // In turns: the recovery after a power cut has other steps than that after a kill.
        const death = point % 2 === 0 ? "machine" : "process";
        revive(world, death);
        const { folder, kernel } = world;
        let opened: ThinPool | undefined;
        const died = await dieAt(world, again, async () => {
          opened = await openPool({ folder, kernel });
        });
        await opened?.detach();
        if (!died) break;
        revive(world, "process");
        await check(world, operation);
        tried += 1;
      }
      if (!reached) break;
    }
    assert.ok(tried > 0);
    t.diagnostic(`${tried} pairs of boundaries`);
  });
}
