/** Pools of others are adopted, and pools of ours destroyed. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rename, rm, truncate, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  activateDevice,
  type DmTarget,
  dmName,
  dmUuid,
  sectors,
  transactionId,
} from "@thinpool/dm-native";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "../create-pool.ts";
import { DAEMON_FILES } from "../folder.ts";
import { openPool } from "../open-pool.ts";
import { Ledger } from "../store/ledger.ts";
import { adoptPool, type AdoptPoolOptions } from "./adopt.ts";
import { destroyPool } from "./destroy.ts";
import {
  BLOCK_BYTES,
  blockWorld,
  DEVICE_BYTES,
  freshWorld,
  removeFolders,
  withCode,
  writeBlocks,
} from "./health-world.test.support.ts";

const parents: string[] = [];

after(async () => {
  await removeFolders();
  for (const parent of parents) await rm(parent, { recursive: true, force: true });
});

function target(type: string, lengthSectors: number, params: string): readonly DmTarget[] {
  return [{ startSectors: sectors(0), lengthSectors: sectors(lengthSectors), type, params }];
}

/** A pool as dmsetup makes one, down again: thin 3 with ext4 and two blocks, thin 8 without any. */
async function foreignPool(): Promise<{ kernel: SimKernel; options: AdoptPoolOptions }> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-adopt-"));
  parents.push(parent);
  const kernel = createSimKernel();
  kernel.addBlockDevice({ path: "/dev/sdb", sizeBytes: 64n << 20n });
  kernel.addBlockDevice({ path: "/dev/sdc", sizeBytes: 4n << 20n });
  const pool = { name: dmName("foreign-pool"), uuid: dmUuid("FOREIGN-pool") };
  const poolTable = target("thin-pool", (64 << 20) / 512, "/dev/sdc /dev/sdb 128 0 0");
  const { info } = await activateDevice(kernel.dm, { ...pool, table: poolTable });
  await kernel.dm.message({ name: pool.name }, "create_thin 3");
  await kernel.dm.message({ name: pool.name }, "create_thin 8");
  const thin = { name: dmName("foreign-thin"), uuid: dmUuid("FOREIGN-thin") };
  const params = `${info.dev.major}:${info.dev.minor} 3`;
  const table = target("thin", Number(DEVICE_BYTES) / 512, params);
  await activateDevice(kernel.dm, { ...thin, table });
  await kernel.filesystems.make({ path: "/dev/mapper/foreign-thin", type: "ext4" });
  await writeBlocks(kernel, "/dev/mapper/foreign-thin", [40], "x");
  await kernel.dm.removeDevice({ name: thin.name });
  const backing = { type: "block", dataPath: "/dev/sdb", metadataPath: "/dev/sdc" } as const;
  return { kernel, options: { folder: join(parent, "pool"), kernel, backing } };
}

test("a pool made with dmsetup is adopted with its devices and their content", async () => {
  const { kernel, options } = await foreignPool();
  await assert.rejects(adoptPool(options), withCode("DEVICE_BUSY", /in use/));
  assert.equal(existsSync(options.folder), false);
  await kernel.dm.removeDevice({ name: dmName("foreign-pool") });

  const { pool, devices } = await adoptPool({
    ...options,
    name: (id) => `vm-${id}`,
    sizeBytes: (id) => (id === 8 ? DEVICE_BYTES : undefined),
  });
  assert.deepEqual(devices, [
    { name: "vm-3", thinId: 3, sizeBytes: 41n * BigInt(BLOCK_BYTES), sizeFrom: "mapped" },
    { name: "vm-8", thinId: 8, sizeBytes: DEVICE_BYTES, sizeFrom: "given" },
  ]);
  assert.equal(pool.get({ name: "vm-3" }).filesystem, "ext4");
  assert.deepEqual((await pool.check({ mappings: true })).findings, []);
  const { device } = await pool.snapshot({ origin: "vm-3", name: "clone", activate: true });
  assert.equal((await kernel.read(device.path, 40 * BLOCK_BYTES, 1)).toString(), "x");
  assert.notEqual(device.thinId, 8);
  await pool.close();
  const again = await openPool({ folder: options.folder, kernel });
  assert.equal(again.list().length, 3);
  assert.deepEqual((await again.check()).findings, []);
  await again.close();
  await assert.rejects(adoptPool(options), withCode("POOL_EXISTS"));
  assert.deepEqual(await kernel.leftovers(), []);
});

test("what is no pool, a size that can't be, a damaged one: refused, and nothing is left", async () => {
  const { kernel, options } = await foreignPool();
  await kernel.dm.removeDevice({ name: dmName("foreign-pool") });
  const swapped = { ...options.backing, dataPath: "/dev/sdc", metadataPath: "/dev/sdb" };
  const cases = [
    [{ ...options, backing: swapped }, "POOL_MISMATCH"],
    [{ ...options, sizeBytes: () => 4096n }, "POOL_OPTION_INVALID"],
    [{ ...options, name: () => "a/b" }, "POOL_NAME_INVALID"],
    [{ ...options, name: () => "twin" }, "POOL_OPTION_INVALID"],
  ] as const;
  for (const [wrong, code] of cases) await assert.rejects(adoptPool(wrong), withCode(code));
  kernel.damageMetadata("/dev/sdc");
  await assert.rejects(adoptPool(options), withCode("POOL_NEEDS_REPAIR"));
  assert.equal(existsSync(options.folder), false);
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a pool that is adopted with a larger device than its own is not grown for it", async () => {
  const { kernel, options } = await foreignPool();
  await kernel.dm.removeDevice({ name: dmName("foreign-pool") });
  kernel.addBlockDevice({ path: "/dev/larger", sizeBytes: 128n << 20n });
  const backing = { ...options.backing, dataPath: "/dev/larger" };
  const { pool } = await adoptPool({ ...options, backing });
  assert.equal((await pool.status()).dataTotalBytes, 64n << 20n);
  await pool.close();
  // Its own program takes it still, with the table that it always had.
  const foreign = { name: dmName("foreign-pool"), uuid: dmUuid("FOREIGN-pool") };
  const table = target("thin-pool", (64 << 20) / 512, "/dev/sdc /dev/sdb 128 0 0");
  await activateDevice(kernel.dm, { ...foreign, table });
  await kernel.dm.removeDevice({ name: foreign.name });
  // Grown it is when somebody asks for it.
  const again = await openPool({ folder: options.folder, kernel });
  assert.equal((await again.extend()).dataBytes, 128n << 20n);
  await again.close();
});

test("a data file of another size than the metadata speaks of is not adopted", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  await rename(join(folder, "pool.sqlite"), join(folder, "lost"));
  const [dataPath, metadataPath] = [join(folder, "data"), join(folder, "metadata")];
  const backing = { type: "files", dataPath, metadataPath } as const;
  const adoption = { folder: `${folder}-adopted`, kernel, backing };
  for (const sizeBytes of [128 << 20, 32 << 20]) {
    await truncate(dataPath, sizeBytes);
    await assert.rejects(adoptPool(adoption), withCode("POOL_MISMATCH", /the metadata speaks of/));
  }
  await truncate(dataPath, 64 << 20);
  await (await adoptPool(adoption)).pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("destroying removes all of a pool, and refuses while it is in use", async () => {
  const { folder, kernel, pool } = await freshWorld();
  const { device } = await pool.activate({ name: "base" });
  await pool.backup();
  await assert.rejects(destroyPool({ folder, kernel }), withCode("POOL_LOCKED"));
  await pool.detach();
  const release = kernel.hold(device.path);
  await assert.rejects(destroyPool({ folder, kernel }), withCode("DEVICE_BUSY"));
  release();
  assert.deepEqual(await destroyPool({ folder, kernel }), { outcome: "destroyed" });
  assert.equal(existsSync(folder), false);
  assert.deepEqual(await kernel.leftovers(), []);
  await assert.rejects(destroyPool({ folder, kernel }), withCode("POOL_NOT_FOUND"));
});

test("destroyed block devices are empty to the next pool", async () => {
  const { folder, kernel, pool } = await blockWorld();
  await pool.close();
  const backing = { type: "block", dataPath: "/dev/sdb", metadataPath: "/dev/sdc" } as const;
  const other = `${folder}-other`;
  await assert.rejects(
    createPool({ folder: other, kernel, backing }),
    withCode("POOL_DEVICE_NOT_EMPTY"),
  );
  await destroyPool({ folder, kernel });
  await (await createPool({ folder: other, kernel, backing })).close();
});

test("an adopted pool is destroyed also where the folder of its files is gone", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  await unlink(join(folder, "pool.sqlite"));
  const adopting = `${folder}-adopted`;
  const [dataPath, metadataPath] = [join(folder, "data"), join(folder, "metadata")];
  const backing = { type: "files", dataPath, metadataPath } as const;
  await (await adoptPool({ folder: adopting, kernel, backing })).pool.close();
  await rm(folder, { recursive: true });
  assert.deepEqual(await destroyPool({ folder: adopting, kernel }), { outcome: "destroyed" });
  assert.equal(existsSync(adopting), false);
});

test("a pool is destroyed with what a death left of a list of changed blocks", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  await writeFile(join(folder, `spool-${randomUUID()}`), "");
  await destroyPool({ folder, kernel });
  assert.equal(existsSync(folder), false);
});

test("opening removes what a death left of a list of changed blocks, and nothing else", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  await writeFile(join(folder, `spool-${randomUUID()}`), "");
  await writeFile(join(folder, "spool-notes"), "");
  const again = await openPool({ folder, kernel });
  const left = (await readdir(folder)).filter((name) => name.startsWith("spool"));
  assert.deepEqual(left, ["spool-notes"]);
  await again.close();
});

test("the next pool of a folder has none of the daemon's records of one whose destruction was cut short", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  const records = Object.values(DAEMON_FILES).flatMap((file) => [file, `${file}-wal`]);
  for (const file of records) await writeFile(join(folder, file), "");
  // No folder: what comes after the backups fails.
  await writeFile(join(folder, "backups"), "");
  await assert.rejects(destroyPool({ folder, kernel }));
  await unlink(join(folder, "backups"));
  const next = await createPool({ folder, kernel });
  assert.deepEqual(
    (await readdir(folder)).filter((name) => records.includes(name)),
    [],
  );
  await next.close();
});

test("nor has a pool that is adopted those of one whose ledger is gone", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  for (const file of Object.values(DAEMON_FILES)) await writeFile(join(folder, file), "");
  for (const end of ["", "-wal"]) await rm(join(folder, `pool.sqlite${end}`), { force: true });
  const [dataPath, metadataPath] = [join(folder, "data"), join(folder, "metadata")];
  const backing = { type: "files", dataPath, metadataPath } as const;
  const adopted = (await adoptPool({ folder, kernel, backing })).pool;
  assert.deepEqual(
    Object.values(DAEMON_FILES).filter((file) => existsSync(join(folder, file))),
    [],
  );
  await adopted.close();
});

test("a pool that is made where the destruction of an adopted one was cut short ends that", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  await unlink(join(folder, "pool.sqlite"));
  const adopting = `${folder}-adopted`;
  const files = [join(folder, "data"), join(folder, "metadata")] as const;
  const backing = { type: "files", dataPath: files[0], metadataPath: files[1] } as const;
  await (await adoptPool({ folder: adopting, kernel, backing })).pool.close();
  const ledger = Ledger.open(join(adopting, "pool.sqlite"));
  ledger.markPoolUncreated();
  ledger.close();
  await (await createPool({ folder: adopting, kernel })).close();
  assert.deepEqual(
    files.filter((path) => existsSync(path)),
    [],
  );
});

test("a creation that is refused leaves the daemon's records", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  const rights = join(folder, DAEMON_FILES.rights);
  await writeFile(rights, "");
  await assert.rejects(createPool({ folder, kernel }), withCode("POOL_EXISTS"));
  assert.ok(existsSync(rights));
});

test("of a pool whose repair was cut short both block devices are empty to others once it is destroyed", async () => {
  const { folder, kernel, pool } = await blockWorld();
  await pool.close();
  const known = { transactionId: transactionId(1n), blockSectors: 128n, dataBlocks: 1024n };
  await kernel.metadataTools.repair({ from: "/dev/sdc", to: "/dev/spare", known });
  const ledger = Ledger.open(join(folder, "pool.sqlite"));
  const [sparePath, keptPath] = ["/dev/spare", "/dev/sdc"];
  ledger.health.beginSwap({ kind: "repair", sparePath, keptPath, atMs: 1 });
  ledger.close();
  await destroyPool({ folder, kernel });
  for (const metadataPath of [sparePath, keptPath]) {
    const backing = { type: "block", dataPath: "/dev/sdb", metadataPath } as const;
    await (await createPool({ folder, kernel, backing })).close();
    await destroyPool({ folder, kernel });
  }
});

test("destroying erases no device that is another's by now", async () => {
  const { folder, kernel, pool } = await blockWorld();
  await pool.close();
  const others = "/dev/sdc";
  const head = await kernel.read(others, 0, 4096);
  // As after a boot that gave the name to another disk, or since an admin has made a filesystem on it.
  await kernel.write(others, 0, await kernel.read("/dev/other", 0, 4096));
  const now = await kernel.read(others, 0, 4096);
  await assert.rejects(destroyPool({ folder, kernel }), withCode("POOL_MISMATCH", /carries ext4/));
  assert.deepEqual(await kernel.read(others, 0, 4096), now);
  // Another pool's metadata looks the same, but is live.
  await kernel.write(others, 0, head);
  const foreign = { name: dmName("foreign-pool"), uuid: dmUuid("FOREIGN-pool") };
  const table = target("thin-pool", (64 << 20) / 512, `${others} /dev/sdb 128 0 0`);
  await activateDevice(kernel.dm, { ...foreign, table });
  await assert.rejects(destroyPool({ folder, kernel }), withCode("DEVICE_BUSY", /in use/));
  await kernel.dm.removeDevice({ name: foreign.name });
  // Nothing had changed: it is a pool still.
  await (await openPool({ folder, kernel })).close();
  await destroyPool({ folder, kernel });
  assert.deepEqual(await kernel.read(others, 0, 4096), Buffer.alloc(4096));
});
