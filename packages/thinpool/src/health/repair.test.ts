/** Repair, backups and restore of closed pools, and what an interruption leaves (INV-21). */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import fs, { copyFile, mkdir, rename, rmdir, truncate, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { after, test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import { SimCrash } from "@thinpool/dm-sim";
import { openPool } from "../open-pool.ts";
import { planRecovery } from "../plan-recovery.ts";
import { Ledger } from "../store/ledger.ts";
import { adoptPool } from "./adopt.ts";
import { listBackups } from "./backup.ts";
import { checkPool } from "./check-closed.ts";
import {
  BLOCK_BYTES,
  blockWorld,
  DEVICE_BYTES,
  freshWorld,
  poolPath,
  removeFolders,
  withCode,
  type World,
  writeBlocks,
} from "./health-world.test.support.ts";
import { repairPool } from "./repair.ts";
import { restorePool } from "./restore.ts";

after(removeFolders);

/** A closed pool with "base" (thin id 0) and its snapshot "one" (1), blocks 0 and 1 written. */
async function closedWorld(): Promise<World> {
  const world = await freshWorld();
  const { kernel, pool } = world;
  const { device } = await pool.activate({ name: "base" });
  await writeBlocks(kernel, device.path, [0, 1], "a");
  await pool.snapshot({ origin: "base", name: "one" });
  await pool.close();
  return world;
}

async function damage({ folder, kernel }: World, lost: readonly number[]): Promise<void> {
  const loop = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  kernel.damageMetadata(loop.path, { lost });
  await kernel.loops.detach(loop.path);
}

async function firstByte(kernel: SimKernel, path: string, block: number): Promise<string> {
  return (await kernel.read(path, block * BLOCK_BYTES, 1)).toString();
}

test("a sound pool is left as it is, and needs_check is cleared", async () => {
  const { folder, kernel, pool } = await freshWorld();
  kernel.setPoolMode(await poolPath(kernel), "read-only", { needsCheck: true });
  await assert.rejects(repairPool({ folder, kernel }), withCode("POOL_LOCKED"));
  await pool.detach();
  await assert.rejects(repairPool({ folder, kernel }), withCode("DEVICE_BUSY"));
  await (await openPool({ folder, kernel })).close();
  await assert.rejects(openPool({ folder, kernel }), withCode("POOL_NEEDS_CHECK"));
  assert.deepEqual(await repairPool({ folder, kernel }), { outcome: "already-sound" });
  const again = await openPool({ folder, kernel });
  assert.equal((await again.status()).state, "working");
  await again.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("repair mends onto a spare, names what is lost, keeps the damaged original", async () => {
  const world = await closedWorld();
  const { folder, kernel } = world;
  await damage(world, [1]);
  await assert.rejects(repairPool({ folder, kernel }), withCode("POOL_NEEDS_REPAIR", /one/));
  const result = await repairPool({ folder, kernel, acceptLoss: true });
  assert.ok(result.outcome === "repaired");
  assert.deepEqual(result.lost, ["one"]);
  assert.match(result.keptPath, /metadata\.damaged-\d{8}T\d{6}Z$/);
  assert.ok(existsSync(result.keptPath));
  assert.equal(existsSync(join(folder, "metadata.spare")), false);
  assert.deepEqual(await kernel.leftovers(), []);
  const pool = await openPool({ folder, kernel });
  const { device } = await pool.activate({ name: "base" });
  assert.equal(await firstByte(kernel, device.path, 1), "a");
  const { findings } = await pool.check();
  assert.deepEqual(
    findings.map(({ code, object }) => [code, object]),
    [["LOST", "one"]],
  );
  await pool.close();
});

test("without the tools nothing is taken for damage, nor for health", async () => {
  const world = await closedWorld();
  const { folder, kernel } = world;
  kernel.metadataTools.installed = false;
  await assert.rejects(repairPool({ folder, kernel }), withCode("POOL_TOOL_MISSING"));
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("spare")),
    [],
  );
});

test("a pool on block devices moves to the spare device that is named", async () => {
  const { folder, kernel, pool } = await blockWorld();
  await pool.close();
  kernel.damageMetadata("/dev/sdc");
  const invalid = withCode("POOL_OPTION_INVALID");
  await assert.rejects(repairPool({ folder, kernel }), invalid);
  for (const spareDevice of ["/dev/small", "/dev/other", "/dev/sdc"]) {
    await assert.rejects(repairPool({ folder, kernel, spareDevice }), invalid);
  }
  const result = await repairPool({ folder, kernel, spareDevice: "/dev/spare" });
  assert.ok(result.outcome === "repaired");
  assert.deepEqual([result.keptPath, result.lost], ["/dev/sdc", []]);
  const again = await openPool({ folder, kernel });
  assert.deepEqual((await again.check()).findings, []);
  await again.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a repair or a restore that is refused leaves its spare device as empty as it was", async () => {
  const { folder, kernel, pool } = await blockWorld();
  await pool.snapshot({ origin: "base", name: "one" });
  await pool.backup();
  await pool.close();
  const spareDevice = "/dev/spare";
  const isEmpty = async (): Promise<boolean> =>
    (await kernel.blocks.signature(spareDevice)) === undefined;
  kernel.damageMetadata("/dev/sdc", { lost: [1] });
  const repairing = (acceptLoss: boolean) =>
    repairPool({ folder, kernel, spareDevice, acceptLoss });
  await assert.rejects(repairing(false), withCode("POOL_NEEDS_REPAIR", /one/));
  assert.ok(await isEmpty());
  // A ledger with such a log can't be opened: it is when the spare is whole.
  const log = join(folder, "pool.sqlite.restore-wal");
  const ignore = kernel.onCall(({ operation, phase }) => {
    if (operation === "thin_restore" && phase === "after") mkdirSync(log);
  });
  await assert.rejects(restorePool({ folder, kernel, spareDevice }));
  ignore();
  assert.ok(existsSync(log), "it came so far");
  assert.ok(await isEmpty());
  await rmdir(log);
  assert.equal((await repairing(true)).outcome, "repaired");
  assert.ok(!(await isEmpty()));
});

test("the pool's own devices are no spare, whatever they carry", async () => {
  const { folder, kernel, pool } = await blockWorld();
  const { device } = await pool.activate({ name: "base" });
  await writeBlocks(kernel, device.path, [0], "a");
  await pool.backup();
  await pool.close();
  const own = withCode("POOL_OPTION_INVALID", /the pool stands on it/);
  for (const spareDevice of ["/dev/sdb", "/dev/sdc"]) {
    await assert.rejects(restorePool({ folder, kernel, spareDevice }), own);
  }
  // A damaged one may carry nothing that is known any more.
  await kernel.write("/dev/sdc", 0, Buffer.alloc(4096));
  for (const spareDevice of ["/dev/sdb", "/dev/sdc"]) {
    await assert.rejects(repairPool({ folder, kernel, spareDevice }), own);
  }
  await restorePool({ folder, kernel, spareDevice: "/dev/spare" });
  const again = await openPool({ folder, kernel });
  await again.activate({ name: "base" });
  assert.equal(await firstByte(kernel, device.path, 0), "a");
  await again.close();
});

test("the process dies at every boundary of a repair: opening or repairing again goes on", async () => {
  for (let point = 0; ; point += 1) {
    assert.ok(point < 100, "the repair has no end");
    const world = await closedWorld();
    const { folder, kernel } = world;
    await damage(world, []);
    let seen = 0;
    kernel.onCall((call) => {
      seen += 1;
      if (seen > point) throw new SimCrash(`${call.phase} ${call.operation}`);
    });
    const result = await repairPool({ folder, kernel }).catch(() => undefined);
    kernel.processDeath();
    if (result !== undefined) break;
    await repairPool({ folder, kernel });
    await (await openPool({ folder, kernel })).close();
    const report = await checkPool({ folder, kernel });
    assert.deepEqual([report.metadata, report.findings], ["clean", []]);
    assert.deepEqual(await kernel.leftovers(), []);
  }
});

test("a swap that was interrupted between its steps is finished by opening", async () => {
  for (const renamed of [false, true]) {
    const world = await closedWorld();
    const { folder, kernel } = world;
    const metadata = join(folder, "metadata");
    // As beginSwap leaves it: the spare is whole (here the metadata itself under that name).
    const ledger = Ledger.open(join(folder, "pool.sqlite"));
    ledger.health.beginSwap({
      kind: "repair",
      sparePath: `${metadata}.spare`,
      keptPath: `${metadata}.kept`,
      atMs: 1,
    });
    ledger.close();
    // Else the last step, the renaming of the spare, is done already.
    if (!renamed) {
      await rename(metadata, `${metadata}.spare`);
      await writeFile(`${metadata}.kept`, "");
    }
    const before = await checkPool({ folder, kernel });
    assert.ok(before.findings.some(({ code }) => code === "REPAIR_INTERRUPTED"));
    // A look would see the metadata that opening replaces, and killed leave a loop on it that nobody finds.
    await assert.rejects(
      planRecovery({ folder, kernel }),
      withCode("POOL_UNSUPPORTED", /a repair was interrupted/),
    );
    const pool = await openPool({ folder, kernel });
    assert.equal(pool.list().length, 2);
    await pool.close();
    assert.deepEqual((await checkPool({ folder, kernel })).findings, []);
  }
});

/** Renames and syncs of folders, in their order, until it is disposed of. */
function namesWritten(): { readonly steps: readonly string[] } & Disposable {
  const { open, rename: move } = fs;
  const steps: string[] = [];
  const replace = (by: object): void => {
    Object.assign(fs, by);
    syncBuiltinESMExports();
  };
  replace({
    open: async (...args: Parameters<typeof open>) => {
      const file = await open(...args);
      const sync = file.sync.bind(file);
      file.sync = async () => {
        steps.push(`sync ${String(args[0])}`);
        await sync();
      };
      return file;
    },
    rename: async (from: string, to: string) => {
      steps.push(`rename ${to}`);
      await move(from, to);
    },
  });
  return { steps, [Symbol.dispose]: () => replace({ open, rename: move }) };
}

test("metadata in another folder than the ledger: its new name lasts before the swap is over", async () => {
  const { folder, kernel } = await closedWorld();
  const elsewhere = join(folder, "elsewhere");
  const metadata = join(elsewhere, "metadata");
  await mkdir(elsewhere);
  for (const name of ["data", "metadata"]) await rename(join(folder, name), join(elsewhere, name));
  const adopted = join(folder, "adopted");
  const backing = {
    type: "files",
    dataPath: join(elsewhere, "data"),
    metadataPath: metadata,
  } as const;
  const { pool } = await adoptPool({ folder: adopted, kernel, backing, monitor: false });
  await pool.close();
  await damage({ folder: elsewhere, kernel, pool }, []);
  const written = namesWritten();
  try {
    await repairPool({ folder: adopted, kernel });
  } finally {
    written[Symbol.dispose]();
  }
  const renamed = written.steps.indexOf(`rename ${metadata}`);
  assert.ok(renamed >= 0);
  assert.ok(written.steps.slice(0, renamed).includes(`sync ${elsewhere}`));
  assert.ok(written.steps.slice(renamed).includes(`sync ${elsewhere}`));
  const again = await openPool({ folder: adopted, kernel, monitor: false });
  await again.backup();
  await again.close();
  using restored = namesWritten();
  await restorePool({ folder: adopted, kernel });
  const counts = restored.steps.indexOf(`rename ${join(adopted, "pool.sqlite")}`);
  const inPlace = restored.steps.indexOf(`rename ${metadata}`);
  assert.ok(counts >= 0 && inPlace > counts);
  assert.ok(restored.steps.slice(0, counts).includes(`sync ${elsewhere}`));
  assert.ok(restored.steps.slice(inPlace).includes(`sync ${elsewhere}`));
});

test("backups: the last N are kept, and one is put back with the ledger of its moment", async () => {
  const world = await closedWorld();
  const { folder, kernel } = world;
  const pool = await openPool({ folder, kernel });
  const first = await pool.backup();
  assert.equal(first.transactionId, 2n);
  const files = readdirSync(join(folder, "backups"));
  assert.deepEqual(
    files.map((name) => statSync(join(folder, "backups", name)).mode & 0o777),
    [0o600, 0o600],
  );
  await pool.createDevice({ name: "later", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  const second = await pool.backup();
  const third = await pool.backup({ keep: 2 });
  assert.deepEqual(
    (await listBackups({ folder })).map(({ name }) => name),
    [third.name, second.name],
  );
  await pool.remove({ name: "one" });
  const lastEvent = pool.lastEventNumber;
  await pool.close();
  await damage(world, [0, 1, 2]);

  await assert.rejects(
    restorePool({ folder, kernel, backup: first.name }),
    withCode("POOL_NOT_FOUND"),
  );
  const result = await restorePool({ folder, kernel, backup: second.name });
  assert.equal(result.transactionId, 3n);
  assert.ok(existsSync(result.keptMetadataPath) && existsSync(result.keptLedgerPath));
  const restored = await openPool({ folder, kernel });
  assert.deepEqual(
    restored.list().map(({ name }) => name),
    ["base", "later", "one"],
  );
  // An event that was taken back has its number for itself: who knows it is told that he is behind.
  assert.ok(restored.lastEventNumber > lastEvent);
  const events = restored.events({ after: lastEvent - 2 });
  await assert.rejects(events.next(), withCode("POOL_EVENTS_LOST"));
  const { device } = await restored.activate({ name: "one" });
  assert.equal(await firstByte(kernel, device.path, 1), "a");
  assert.deepEqual((await restored.check()).findings, []);
  await restored.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a dump with the ledger of another moment is refused, and the pool is as it was", async () => {
  const { folder, kernel } = await closedWorld();
  const pool = await openPool({ folder, kernel });
  const older = await pool.backup();
  await pool.createDevice({ name: "two", sizeBytes: 1n << 20n, filesystem: "none" });
  await pool.createDevice({ name: "three", sizeBytes: 1n << 20n, filesystem: "none" });
  const newer = await pool.backup();
  await pool.close();
  const dumpOf = (name: string): string => join(folder, "backups", `${name}.xml`);
  await copyFile(dumpOf(older.name), dumpOf(newer.name));
  await assert.rejects(
    restorePool({ folder, kernel }),
    withCode("POOL_MISMATCH", /the dump is of transaction/),
  );
  const again = await openPool({ folder, kernel });
  assert.equal(again.list().length, 4);
  await again.close();
  await restorePool({ folder, kernel, backup: older.name });
  await (await openPool({ folder, kernel })).close();
});

test("a backup that fails leaves none, and the next one works", async () => {
  const { folder, kernel } = await closedWorld();
  const pool = await openPool({ folder, kernel });
  kernel.failNext({ operation: "thin_dump", errno: "EIO" });
  await assert.rejects(pool.backup(), withCode("POOL_TOOL_FAILED"));
  assert.deepEqual(await listBackups({ folder }), []);
  const { name } = await pool.backup();
  assert.deepEqual(
    (await listBackups({ folder })).map((backup) => backup.name),
    [name],
  );
  await pool.close();
});

test("a backup that a clock set back makes is the newest all the same, and stays", async (t) => {
  const { folder, kernel } = await closedWorld();
  const pool = await openPool({ folder, kernel, monitor: false });
  t.mock.timers.enable({ apis: ["Date"], now: Date.UTC(2030, 0, 1) });
  const early = [await pool.backup({ keep: 2 }), await pool.backup({ keep: 2 })];
  t.mock.timers.setTime(Date.UTC(2026, 0, 1));
  const late = await pool.backup({ keep: 2 });
  const left = await listBackups({ folder });
  assert.deepEqual(
    left.map(({ name }) => name),
    [late.name, early[1]?.name],
  );
  assert.deepEqual(left[0], late);
  await pool.close();
});

test("what a death left of a backup, or of the removal of one, goes with the next", async () => {
  const { folder, kernel } = await closedWorld();
  const backups = join(folder, "backups");
  const pool = await openPool({ folder, kernel, monitor: false });
  const kept = await pool.backup();
  // Its ledger is named first, and its dump removed first.
  await writeFile(join(backups, "20260101T000000000Z-t1.sqlite"), "");
  await writeFile(join(backups, "mine.sqlite"), "");
  const made = await pool.backup();
  const names = [kept, made].flatMap(({ name }) => [`${name}.sqlite`, `${name}.xml`]);
  assert.deepEqual(readdirSync(backups).toSorted(), [...names, "mine.sqlite"].toSorted());
  await pool.close();
});

test("backups that are asked for at once are made one after another, while others list them", async () => {
  const { folder, kernel } = await closedWorld();
  const pool = await openPool({ folder, kernel });
  const backups = Array.from({ length: 8 }, () => pool.backup({ keep: 1 }));
  const made = { all: false };
  const all = Promise.all(backups).finally(() => (made.all = true));
  while (!made.all) assert.ok((await listBackups({ folder })).length <= 2);
  const names = (await all).map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const [left, ...others] = await listBackups({ folder });
  // The last one made, which need not be the last one asked for.
  assert.deepEqual([left?.name, others], [names.toSorted().at(-1), []]);
  await pool.close();
});

test("the process dies at every boundary of a restore: what was there, or the backup, opens", async () => {
  for (let point = 0; ; point += 1) {
    assert.ok(point < 100, "the restore has no end");
    const { folder, kernel } = await closedWorld();
    const pool = await openPool({ folder, kernel });
    await pool.backup();
    await pool.remove({ name: "one" });
    await pool.close();
    let seen = 0;
    kernel.onCall((call) => {
      seen += 1;
      if (seen > point) throw new SimCrash(`${call.phase} ${call.operation}`);
    });
    const result = await restorePool({ folder, kernel }).catch(() => undefined);
    kernel.processDeath();
    const opened = await openPool({ folder, kernel });
    const names = opened.list().map(({ name }) => name);
    assert.ok(names.join() === "base" || names.join() === "base,one", names.join());
    assert.deepEqual((await opened.check()).findings, []);
    await opened.close();
    if (result !== undefined) break;
    await restorePool({ folder, kernel });
    await (await openPool({ folder, kernel })).close();
  }
});

test("a backup is put back, and metadata repaired, where a growth was cut short", async () => {
  for (const mend of [restorePool, repairPool]) {
    const world = await closedWorld();
    const { folder, kernel } = world;
    const pool = await openPool({ folder, kernel });
    await pool.backup();
    await pool.close();
    const ledger = Ledger.open(join(folder, "pool.sqlite"));
    ledger.space.beginGrowth({ dataBytes: 96n << 20n, metadataBytes: 4n << 20n });
    ledger.close();
    await truncate(join(folder, "data"), 96 << 20);
    await damage(world, []);
    await mend({ folder, kernel });
    const again = await openPool({ folder, kernel });
    assert.equal((await again.status()).dataTotalBytes, 96n << 20n);
    assert.deepEqual((await again.check()).findings, []);
    await again.close();
  }
});
