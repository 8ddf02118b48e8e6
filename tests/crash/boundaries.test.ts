/**
 * What a pool's folder goes through as a whole: made, grown, adopted, backed up, restored, repaired,
 * destroyed. The process, or the machine with its disk's cache, dies at every kernel call, file call and
 * commit of each that leaves another machine than the
 * one before, and right after its end: then it opens, with all that was promised.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { PoolBacking, PoolError, ThinPool } from "@thinpool/thinpool";
import { enter, install, real } from "./intercept.ts";
import { Random } from "./random.ts";
import { type Death, World } from "./world.ts";

install();
// After the built-ins were replaced, so that the engine binds to them as they now are.
const { adoptPool, checkPool, createPool, destroyPool, listBackups, openPool } =
  await import("@thinpool/thinpool");
const { repairPool, restorePool } = await import("@thinpool/thinpool");
const { open, unlink } = await import("node:fs/promises");

const MEMORY_FOLDER = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const MIB = 1n << 20n;
const BACKING = { type: "files", dataBytes: 64n * MIB, metadataBytes: 4n * MIB } as const;
const DEVICE = { sizeBytes: MIB, filesystem: "none" } as const;
/** A copy's tables come one behind the other, after the schema's own page: pool, ids of others, swap. */
const PAGE_OF_COPIED_SWAP = 4;
/** Of a pool that stands on block devices: its own, and one that can take the metadata's place. */
const DISKS = { data: "/dev/sdb", metadata: "/dev/sdc", spare: "/dev/sdd" } as const;
const ON_DISKS = { type: "block", dataPath: DISKS.data, metadataPath: DISKS.metadata } as const;
/** More than any of them has. */
const MAX_BOUNDARIES = 400;
/** So many boundaries after a name has changed, a power cut may keep it or not, in so many ways. */
const NAME_BOUNDARIES = 6;
const CUTS_OF_NAMES = 6;
/** Where a commit comes so soon after, few of them keep its WAL and not the name of its database. */
const CUTS_OF_COMMITS = 64;
/** Of a pool that is open again: what it has not synced is kept or not, by chance. */
const CUTS_WHEN_OPEN = 3;
/** After its end a power cut takes each piece that was not synced in some of these. */
const CUTS_AT_END = 8;

/** Of what its end has set going, and a dead process must not be waited for. */
const STEPS_AFTER_END = 20;

interface Operation {
  /** Who dies; both by default. */
  readonly victims?: readonly Death[];
  /** Leaves the pool as the operation is to find it; one that is to be open is returned. */
  readonly prepare: (world: World) => Promise<ThinPool | undefined>;
  readonly run: (world: World, pool: ThinPool | undefined) => Promise<ThinPool | undefined>;
  /** After a death comes the same once more, not an opening. */
  readonly runsAgain?: boolean;
  /** `ended`: its caller was told that it is done. */
  readonly verify: (world: World, ended: boolean) => Promise<void>;
}

function at(world: World) {
  return { folder: world.folder, kernel: world.kernel };
}

/** A pool of "base" and its snapshot "one". */
async function made(world: World, backing: PoolBacking = BACKING): Promise<ThinPool> {
  const pool = await createPool({ ...at(world), backing, blockSectors: 128n });
  await pool.createDevice({ name: "base", ...DEVICE });
  await pool.snapshot({ origin: "base", name: "one" });
  return pool;
}

async function madeOnDisks(world: World): Promise<ThinPool> {
  world.kernel.addBlockDevice({ path: DISKS.data, sizeBytes: 64n * MIB });
  for (const path of [DISKS.metadata, DISKS.spare]) {
    world.kernel.addBlockDevice({ path, sizeBytes: 4n * MIB });
  }
  return made(world, ON_DISKS);
}

async function closed(world: World): Promise<undefined> {
  await (await made(world)).close();
}

/** A pool without the ledger that would be found beside its files. */
async function lost(world: World): Promise<undefined> {
  await closed(world);
  await unlink(join(world.folder, "pool.sqlite"));
  const folder = await open(world.folder);
  await folder.sync();
  await folder.close();
}

/** Its devices, from a pool that opens, is whole, and leaves nothing when it is closed. */
async function devicesOf(world: World, folder = world.folder): Promise<readonly string[]> {
  const { kernel } = world;
  const pool = await openPool({ folder, kernel });
  const names = pool.list().map(({ name }) => name);
  assert.deepEqual((await pool.check()).findings, []);
  await pool.close();
  const report = await checkPool({ folder, kernel });
  assert.deepEqual([report.metadata, report.findings], ["clean", []]);
  assert.deepEqual(await kernel.leftovers(), []);
  return names;
}

/** By `extend` or the length of the disks: both spaces, the data perhaps alone where it was cut short. */
async function verifyGrown(world: World, ended: boolean): Promise<void> {
  const pool = await openPool(at(world));
  const { dataTotalBytes, metadataTotalBytes } = await pool.status();
  await pool.close();
  assert.ok([64n, 72n].includes(dataTotalBytes / MIB));
  if (ended) assert.deepEqual([dataTotalBytes, metadataTotalBytes], [72n * MIB, 5n * MIB]);
  assert.deepEqual(await devicesOf(world), ["base", "one"]);
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  try {
    await run;
    return "";
  } catch (error) {
    return (error as PoolError).code;
  }
}

async function remakes(world: World, backing: PoolBacking = BACKING): Promise<void> {
  const pool = await createPool({ ...at(world), backing });
  await pool.close();
  assert.deepEqual(await devicesOf(world), []);
}

function adopted(world: World): string {
  return join(world.files.parent, "adopted");
}

async function adopt(world: World): Promise<ThinPool> {
  const { kernel, folder } = world;
  const backing = {
    type: "files",
    dataPath: join(folder, "data"),
    metadataPath: join(folder, "metadata"),
  } as const;
  return (await adoptPool({ folder: adopted(world), kernel, backing })).pool;
}

async function damage({ folder, kernel }: World): Promise<void> {
  const loop = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  kernel.damageMetadata(loop.path);
  await kernel.loops.detach(loop.path);
}

function kept(world: World, pattern: RegExp): readonly string[] {
  return readdirSync(world.folder).filter((name) => pattern.test(name));
}

/**
 * As a ledger is whose tables were made anew by a later version of its schema: they lie on other pages than
 * those of a copy. The devices lie where a copy has the swap: a cut that mixes the one's database with the
 * other's WAL loses them.
 */
function age({ folder }: World): void {
  using ledger = new DatabaseSync(join(folder, "pool.sqlite"));
  const sqlOf = (where: string): string => {
    const rows = ledger.prepare(`SELECT sql FROM sqlite_schema WHERE ${where}`).all();
    return rows.map(({ sql }) => `${String(sql)};`).join("\n");
  };
  const triggers = sqlOf("type = 'trigger' AND tbl_name = 'device'");
  const health = sqlOf("type = 'table' AND name = 'health'");
  const device = sqlOf("type = 'table' AND name = 'device'");
  ledger.exec(`
    CREATE TEMP TABLE old_health AS SELECT * FROM health;
    DROP TABLE health;
    ${device.replace(/^CREATE TABLE "device"/, "CREATE TABLE device_anew")}
    INSERT INTO device_anew SELECT * FROM device;
    DROP TABLE device;
    ALTER TABLE device_anew RENAME TO device;
    ${triggers}
    ${health}
    INSERT INTO health SELECT * FROM old_health;`);
  const pageOf = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
  assert.equal(ledger.prepare(pageOf).get("device")?.["rootpage"], PAGE_OF_COPIED_SWAP);
}

/** Since its backup "one" was removed. */
const RESTORE = {
  async prepare(world: World) {
    const pool = await made(world);
    await pool.backup();
    await pool.remove({ name: "one" });
    await pool.close();
    return undefined;
  },
  async run(world: World) {
    await restorePool(at(world));
    return undefined;
  },
};

/** The boundary at which a repair has recorded its swap and moved nothing yet; undefined until it was found. */
let swapRecordedAt: number | undefined;

async function findSwapRecorded(): Promise<number> {
  return inWorld(0, async (world) => {
    await RESTORE.prepare(world);
    await damage(world);
    world.arm({});
    await repairPool(at(world));
    const calls = world.recent.slice(-world.boundaries);
    const found = calls.lastIndexOf("after COMMIT", calls.indexOf("before link"));
    assert.ok(found > 0, "a repair records its swap before it moves anything");
    return found;
  });
}

/** The spare stands ready, and the ledger says that it takes the metadata's place. */
async function repairCutShort(world: World): Promise<void> {
  swapRecordedAt ??= await findSwapRecorded();
  enter(world);
  world.arm({ death: { at: swapRecordedAt, of: "process" } });
  await assert.rejects(repairPool(at(world)));
  world.revive();
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  create: {
    runsAgain: true,
    prepare: () => Promise.resolve(undefined),
    run: (world) => createPool({ ...at(world), backing: BACKING }),
    async verify(world, ended) {
      if (ended) assert.deepEqual(await devicesOf(world), []);
      else if ((await codeOf(devicesOf(world))) === "POOL_NOT_FOUND") await remakes(world);
      else assert.deepEqual(await devicesOf(world), []);
    },
  },
  grow: {
    prepare: made,
    async run(_, pool) {
      await pool?.extend({ dataBytes: 72n * MIB });
      await pool?.extend({ dataBytes: 72n * MIB, metadataBytes: 5n * MIB });
      return pool;
    },
    verify: verifyGrown,
  },
  "grow on disks": {
    async prepare(world) {
      const pool = await madeOnDisks(world);
      // An admin has made them longer.
      world.kernel.growBlockDevice(DISKS.data, 72n * MIB);
      world.kernel.growBlockDevice(DISKS.metadata, 5n * MIB);
      return pool;
    },
    async run(_, pool) {
      await pool?.extend();
      return pool;
    },
    verify: verifyGrown,
  },
  devices: {
    prepare: made,
    async run(_, pool) {
      await pool?.snapshot({ origin: "base", name: "two" });
      await pool?.remove({ name: "one" });
      return pool;
    },
    async verify(world, ended) {
      const names = await devicesOf(world);
      const possible = ["base,one", "base,one,two", "base,two"];
      assert.ok((ended ? possible.slice(-1) : possible).includes(names.join()), names.join());
    },
  },
  adopt: {
    prepare: lost,
    run: (world) => adopt(world),
    async verify(world, ended) {
      const found = ended ? "" : await codeOf(devicesOf(world, adopted(world)));
      if (found !== "") {
        assert.equal(found, "POOL_NOT_FOUND");
        real.rmSync(adopted(world), { recursive: true, force: true });
        await (await adopt(world)).close();
      }
      assert.deepEqual(await devicesOf(world, adopted(world)), ["thin-0", "thin-1"]);
    },
  },
  backup: {
    prepare: made,
    async run(_, pool) {
      await pool?.backup();
      return pool;
    },
    async verify(world, ended) {
      assert.deepEqual(await devicesOf(world), ["base", "one"]);
      const backups = await listBackups(at(world));
      if (ended) assert.equal(backups.length, 1);
      for (const { name } of backups) await restorePool({ ...at(world), backup: name });
      assert.deepEqual(await devicesOf(world), ["base", "one"]);
      const pool = await openPool(at(world));
      await pool.backup();
      await pool.close();
      const partial = readdirSync(join(world.folder, "backups"));
      assert.deepEqual(
        partial.filter((name) => name.endsWith(".partial")),
        [],
      );
    },
  },
  restore: {
    ...RESTORE,
    async verify(world, ended) {
      const names = await devicesOf(world);
      if (ended || names.length > 1) {
        assert.deepEqual(names, ["base", "one"]);
        // What was there before is kept, whatever else was lost with the power.
        assert.equal(kept(world, /^metadata\.replaced-/).length, 1);
        assert.equal(kept(world, /^pool\.sqlite\.replaced-[^w]*$/).length, 1);
      } else assert.deepEqual(names, ["base"]);
      await restorePool(at(world));
      assert.deepEqual(await devicesOf(world), ["base", "one"]);
      assert.deepEqual(kept(world, /\.(?:spare|restore)/), []);
      const ledgers = kept(world, /^pool\.sqlite/).map((name) =>
        real.statSync(join(world.folder, name)),
      );
      assert.equal(new Set(ledgers.map(({ ino }) => ino)).size, ledgers.length);
    },
  },
  "restore, then again": {
    ...RESTORE,
    victims: ["process"],
    async verify(world) {
      await restorePool(at(world));
      assert.deepEqual(await devicesOf(world), ["base", "one"]);
    },
  },
  "restore after a repair that was cut short": {
    ...RESTORE,
    victims: ["process"],
    async prepare(world) {
      await RESTORE.prepare(world);
      await damage(world);
      await repairCutShort(world);
      return undefined;
    },
    async verify(world) {
      const names = await devicesOf(world);
      assert.ok(["base", "base,one"].includes(names.join()), names.join());
    },
  },
  "restore on disks": {
    async prepare(world) {
      await (await madeOnDisks(world)).close();
      age(world);
      const pool = await openPool(at(world));
      await pool.backup();
      await pool.remove({ name: "one" });
      await pool.close();
      return undefined;
    },
    async run(world) {
      await restorePool({ ...at(world), spareDevice: DISKS.spare });
      return undefined;
    },
    async verify(world, ended) {
      const names = await devicesOf(world);
      assert.ok(names.join() === "base,one" || (!ended && names.join() === "base"), names.join());
    },
  },
  repair: {
    async prepare(world) {
      await closed(world);
      await damage(world);
      return undefined;
    },
    async run(world) {
      await repairPool(at(world));
      return undefined;
    },
    async verify(world, ended) {
      // It may have been cut short before the repaired metadata took the place, never in between.
      const { outcome } = await repairPool(at(world));
      if (ended) assert.equal(outcome, "already-sound");
      assert.equal(kept(world, /^metadata\.damaged-/).length, 1);
      assert.deepEqual(kept(world, /\.spare/), []);
      assert.deepEqual(await devicesOf(world), ["base", "one"]);
    },
  },
  destroy: {
    runsAgain: true,
    async prepare(world) {
      const pool = await made(world);
      await pool.backup();
      await pool.close();
      return undefined;
    },
    async run(world) {
      await destroyPool(at(world));
      return undefined;
    },
    async verify(world, ended) {
      // The whole pool is there, or none.
      if (!ended) assert.ok(["", "POOL_NOT_FOUND"].includes(await codeOf(devicesOf(world))));
      const code = ended ? "POOL_NOT_FOUND" : await codeOf(destroyPool(at(world)));
      assert.ok(["", "POOL_NOT_FOUND"].includes(code), code);
      const left = existsSync(world.folder) ? kept(world, /^(?!pool\.lock$)/) : [];
      assert.deepEqual(left, []);
      await remakes(world);
    },
  },
  "destroy what was adopted": {
    runsAgain: true,
    async prepare(world) {
      await lost(world);
      await (await adopt(world)).close();
      return undefined;
    },
    async run(world) {
      await destroyPool({ folder: adopted(world), kernel: world.kernel });
      return undefined;
    },
    async verify(world, ended) {
      const { kernel } = world;
      const folder = adopted(world);
      const code = ended ? "POOL_NOT_FOUND" : await codeOf(destroyPool({ folder, kernel }));
      assert.ok(["", "POOL_NOT_FOUND"].includes(code), code);
      assert.deepEqual(kept(world, /^(?:data|metadata)/), []);
    },
  },
  "destroy on disks": {
    async prepare(world) {
      await (await madeOnDisks(world)).close();
      return undefined;
    },
    async run(world) {
      await destroyPool(at(world));
      return undefined;
    },
    async verify(world, ended) {
      if (!ended) await codeOf(destroyPool(at(world)));
      await remakes(world, ON_DISKS);
    },
  },
};

interface Cut {
  readonly of: Death;
  /** The power is cut once the pool was opened again. */
  readonly cutWhenOpen?: boolean;
  /** Undefined: right after its end. */
  readonly point: number | undefined;
  readonly seed: number;
}

/** In how many ways the boundary is worth a power cut. */
async function cutAt(operation: Operation, cut: Cut): Promise<number> {
  const { of, point, seed } = cut;
  return inWorld(seed, async (world) => {
    let pool = await operation.prepare(world);
    world.arm(point === undefined ? {} : { death: { at: point, of } });
    let ended = false;
    try {
      pool = await operation.run(world, pool);
      ended = true;
      // What goes on in the background at its end has come so far with one seed, and not yet with another.
      const steps = point === undefined ? 0 : STEPS_AFTER_END;
      for (let step = 0; step < steps; step += 1) await Promise.resolve();
    } catch (error) {
      if (world.dead === undefined) throw error;
    }
    assert.ok(point === undefined || world.dead !== undefined, "it comes to that boundary");
    const recent = world.recent.slice(-NAME_BOUNDARIES);
    const names = recent.some((text) => text === "after rename" || text === "after link");
    const commits = recent.includes("after COMMIT");
    if (point === undefined) world.cutPower();
    try {
      await pool?.detach();
    } catch {
      // A dead process says nothing any more.
    }
    world.revive();
    if (cut.cutWhenOpen === true) {
      const opened = await openPool(at(world)).catch(() => undefined);
      world.cutPower();
      await opened?.detach().catch(() => undefined);
      world.revive();
    }
    await operation.verify(world, ended && point === undefined);
    if (!names) return 1;
    return commits ? CUTS_OF_COMMITS : CUTS_OF_NAMES;
  });
}

async function inWorld<T>(seed: number, body: (world: World) => Promise<T>): Promise<T> {
  const base = mkdtempSync(join(MEMORY_FOLDER, "thinpool-boundaries-"));
  real.rmSync(base, { recursive: true });
  const world = new World(base, new Random(seed));
  enter(world);
  try {
    return await body(world);
  } finally {
    enter(undefined);
    rmSync(base, { recursive: true, force: true });
  }
}

/** At every boundary of it that leaves another machine than the one before. */
async function dies(operation: Operation, cut: Omit<Cut, "point" | "seed">): Promise<void> {
  const points = await inWorld(0, async (world) => {
    const pool = await operation.prepare(world);
    world.watch();
    const running = await operation.run(world, pool);
    const differing = world.differing;
    await running?.detach();
    return differing;
  });
  assert.ok(points.length > 1);
  for (const point of points) {
    try {
      const ways = await cutAt(operation, { ...cut, point, seed: point });
      const tries = cut.of === "machine" ? ways : cut.cutWhenOpen === true ? CUTS_WHEN_OPEN : 1;
      for (let more = 1; more < tries; more += 1) {
        await cutAt(operation, { ...cut, point, seed: point + more * MAX_BOUNDARIES });
      }
    } catch (error) {
      throw new Error(`at boundary ${point}`, { cause: error });
    }
  }
}

for (const [name, operation] of Object.entries(OPERATIONS)) {
  test(`${name}: the power is cut right after its end`, async () => {
    for (let seed = 0; seed < CUTS_AT_END; seed += 1) {
      await cutAt(operation, { of: "machine", point: undefined, seed });
    }
  });

  for (const victim of operation.victims ?? (["process", "machine"] as const)) {
    test(`${name}: the ${victim} dies at every boundary`, () => dies(operation, { of: victim }));
  }
}

/**
 * The process dies in the fsync of each of its commits, and the machine then at every boundary of who
 * comes next, up to the first commit: what that one read of the WAL, and acted on, must have been made to last.
 */
async function diesInCommits(operation: Operation): Promise<void> {
  const points = await unsyncedCommits(operation);
  assert.ok(points.length > 0);
  for (const point of points) {
    for (const next of await pointsAfter(operation, point)) {
      try {
        await cutAfterCommit(operation, point, next);
      } catch (error) {
        throw new Error(`at boundary ${point}, then ${next ?? "the end"}`, { cause: error });
      }
    }
  }
}

/** The boundaries at which the WAL has a commit's pages and no fsync yet. */
async function unsyncedCommits(operation: Operation): Promise<readonly number[]> {
  return inWorld(0, async (world) => {
    const pool = await operation.prepare(world);
    world.arm({});
    const running = await operation.run(world, pool);
    const calls = world.recent.slice(-world.boundaries);
    assert.equal(calls.length, world.boundaries, "all are remembered");
    await running?.detach();
    return calls.flatMap((call, index) =>
      call === "after COMMIT" && calls[index - 1] === "before COMMIT" ? [index] : [],
    );
  });
}

/** The process has died at that boundary; who comes next has not begun. */
async function afterProcess(world: World, operation: Operation, point: number): Promise<void> {
  const pool = await operation.prepare(world);
  world.arm({ death: { at: point, of: "process" } });
  const running = await operation.run(world, pool).catch(() => pool);
  assert.equal(world.dead, "process");
  await running?.detach().catch(() => undefined);
  world.revive();
}

function comesNext(world: World, operation: Operation): Promise<ThinPool | undefined> {
  return operation.runsAgain === true ? operation.run(world, undefined) : openPool(at(world));
}

/** Its boundaries up to the end of its first commit: from there on all lasts that was there before. */
async function pointsAfter(
  operation: Operation,
  point: number,
): Promise<readonly (number | undefined)[]> {
  return inWorld(point * MAX_BOUNDARIES, async (world) => {
    await afterProcess(world, operation, point);
    world.watch();
    const opened = await comesNext(world, operation).catch(() => undefined);
    const calls = world.recent.slice(-world.boundaries);
    assert.equal(calls.length, world.boundaries, "all are remembered");
    const commits = calls.flatMap((call, index) => (call === "after COMMIT" ? [index] : []));
    const { differing } = world;
    await opened?.detach();
    const [, synced] = commits;
    return synced === undefined
      ? [...differing, undefined]
      : differing.filter((next) => next <= synced);
  });
}

async function cutAfterCommit(
  operation: Operation,
  point: number,
  next: number | undefined,
): Promise<void> {
  const seed = point * MAX_BOUNDARIES + (next ?? MAX_BOUNDARIES - 1);
  return inWorld(seed, async (world) => {
    await afterProcess(world, operation, point);
    world.arm(next === undefined ? {} : { death: { at: next, of: "machine" } });
    const opened = await comesNext(world, operation).catch(() => undefined);
    if (next === undefined) world.cutPower();
    assert.equal(world.dead, "machine");
    await opened?.detach().catch(() => undefined);
    world.revive();
    await operation.verify(world, false);
  });
}

for (const name of ["grow", "restore"]) {
  const operation = OPERATIONS[name];
  assert.ok(operation !== undefined);
  test(`${name}: the process dies, and the machine when the pool is open again`, () =>
    dies(operation, { of: "process", cutWhenOpen: true }));
}

for (const [name, operation] of Object.entries(OPERATIONS)) {
  if (operation.victims !== undefined) continue;
  test(`${name}: the process dies in a commit, then the machine`, () => diesInCommits(operation));
}
