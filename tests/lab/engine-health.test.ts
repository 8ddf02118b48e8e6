/** The health of pools against the kernel and the tools themselves. */
import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  type ChangedRange,
  checkPool,
  createPool,
  LinuxMetadataTools,
  openPool,
  repairPool,
  type ThinPool,
} from "@thinpool/thinpool";
import {
  BLOCK,
  DEVICE_BYTES,
  fileOf,
  kernel,
  message,
  nothingLeft,
  overwrite,
  poolName,
  rawPool,
  refusal,
  reload,
  stopUnclean,
  testName,
  writeBlocks,
} from "./health-fixture.ts";
import { run, SUFFIX } from "./native-fixture.ts";

const DMSETUP = "/usr/sbin/dmsetup";
const uuids: string[] = [];
let parent: string;

before(async () => {
  parent = await mkdtemp(`/tmp/health-${SUFFIX}-`);
});

after(async () => {
  await nothingLeft(parent, uuids);
  await kernel[Symbol.asyncDispose]();
});

async function fresh(name: string): Promise<{ folder: string; pool: ThinPool }> {
  const folder = join(parent, name);
  const pool = await rawPool(folder);
  uuids.push(pool.uuid);
  return { folder, pool };
}

async function all(ranges: AsyncIterable<ChangedRange>): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { kind, offsetBytes, lengthBytes } of ranges) {
    found.push(`${kind} ${offsetBytes / BLOCK}+${lengthBytes / BLOCK}`);
  }
  return found;
}

test("usage and changed blocks are exactly the known writes, while the pool is written to", async () => {
  const { folder, pool } = await fresh("usage");
  const { path } = pool.get({ name: "base" });
  await writeBlocks(path, [0, 1, 2, 3, 4], "a");
  await pool.snapshot({ origin: "base", name: "one" });
  await writeBlocks(path, [1, 2, 20], "b");
  await kernel.blocks.discard(path, { offsetBytes: 4n * BLOCK, lengthBytes: BLOCK });
  await pool.snapshot({ origin: "base", name: "two" });
  assert.deepEqual(await all(pool.changedBlocks({ from: "one", to: "two" })), [
    "changed 1+2",
    "removed 4+1",
    "added 20+1",
  ]);
  await writeBlocks(path, [0], "c");
  assert.deepEqual(await all(pool.changedBlocks({ from: "two", to: "base" })), ["changed 0+1"]);
  const { devices, orphanBytes } = await pool.usage();
  assert.deepEqual(
    devices.map((usage) => [
      usage.name,
      usage.mappedBytes / BLOCK,
      usage.exclusiveBytes / BLOCK,
      usage.sharedBytes / BLOCK,
    ]),
    [
      ["base", 5n, 1n, 4n],
      ["one", 5n, 3n, 2n],
      ["two", 5n, 0n, 5n],
    ],
  );
  assert.equal(orphanBytes, 0n);
  const report = await pool.check({ mappings: true });
  assert.deepEqual([report.metadata, report.findings], ["clean", []]);
  assert.deepEqual(pool.metadataSnapshot(), { holder: undefined, waiting: 0 });
  await pool.close();
  const closed = await checkPool({ folder, kernel, mappings: true });
  assert.deepEqual([closed.metadata, closed.findings], ["clean", []]);
});

test("an orphan made by another program, and a lost record, are reported", async () => {
  const { pool } = await fresh("orphan");
  await pool.snapshot({ origin: "base", name: "lost" });
  await message(pool, "create_thin 77");
  await message(pool, `delete ${pool.get({ name: "lost" }).thinId}`);
  const report = await pool.check();
  assert.deepEqual(
    report.findings.map(({ code, object }) => [code, object]),
    [
      ["LOST", "lost"],
      ["ORPHAN", "thin id 77"],
    ],
  );
  await pool.removeOrphan({ thinId: 77 });
  assert.equal((await pool.check()).findings.length, 1);
  await pool.close();
});

test("a foreign holder of the metadata snapshot is named, and ours of a dead process is freed", async () => {
  const { folder, pool } = await fresh("holder");
  await message(pool, "reserve_metadata_snap");
  await assert.rejects(pool.usage(), refusal("POOL_SNAPSHOT_BUSY", /another program/));
  await message(pool, "release_metadata_snap");
  assert.equal((await pool.usage()).devices.length, 1);
  await pool.close();
  const again = await openPool({ folder, kernel });
  assert.equal((await again.usage()).devices.length, 1);
  await again.close();
});

test("a thin id that a stranger took is looked at, left alone, and free again once he gave it up", async () => {
  const { folder, pool } = await fresh("taken");
  await message(pool, "create_thin 1");
  const { device } = await pool.snapshot({ origin: "base", name: "one" });
  assert.equal(device.thinId, 2);
  const [entry] = pool.recoveryJournal();
  assert.equal(entry?.action, "pass-over-thin-id");
  assert.match(entry.reason, /has it since transaction 1,/);
  const [finding] = (await pool.check()).findings;
  assert.deepEqual([finding?.code, finding?.object], ["ORPHAN", "thin id 1"]);
  await message(pool, "delete 1");
  await pool.close();
  const again = await openPool({ folder, kernel });
  assert.deepEqual((await again.check()).findings, []);
  await again.close();
});

test("damage after an unclean stop: check says so, opening refuses", async () => {
  const { folder, pool } = await fresh("damage");
  await writeBlocks(pool.get({ name: "base" }).path, [0, 1], "a");
  await stopUnclean(pool);
  const sound = await openPool({ folder, kernel });
  await stopUnclean(sound);
  await overwrite(join(folder, "metadata"), 1, 40);
  await assert.rejects(openPool({ folder, kernel }), refusal("POOL_NEEDS_REPAIR", /thin_check/));
  const report = await checkPool({ folder, kernel });
  assert.equal(report.metadata, "damaged");
  assert.equal(report.findings[0]?.code, "METADATA_DAMAGED");
  await overwrite(join(folder, "metadata"), 0, 1);
  await assert.rejects(openPool({ folder, kernel }), refusal("POOL_NEEDS_REPAIR", /superblock/));
});

test("a missing tool is an error of its own, which an option overrides", async () => {
  const { folder, pool } = await fresh("tool");
  await stopUnclean(pool);
  const without = { ...kernel, metadataTools: new LinuxMetadataTools({ folders: [parent] }) };
  await assert.rejects(openPool({ folder, kernel: without }), refusal("POOL_TOOL_MISSING"));
  const opened = await openPool({ folder, kernel: without, allowMissingTool: true });
  await assert.rejects(opened.usage(), refusal("POOL_TOOL_MISSING"));
  assert.deepEqual(opened.metadataSnapshot(), { holder: undefined, waiting: 0 });
  await opened.close();
});

const METADATA_SECTORS = (4 << 20) / 512;

/** A pool on two loops, its metadata through a dm device of the test's own that can be made sick. */
async function sickPool(short: string): Promise<{
  readonly folder: string;
  readonly pool: ThinPool;
  /** The dm device below the metadata, and the loop below that. */
  readonly name: string;
  readonly below: string;
  readonly takeDown: () => Promise<void>;
}> {
  const data = await kernel.loops.attach({
    backingFile: await fileOf(join(parent, `${short}-data`), 64n << 20n),
  });
  const metadata = await kernel.loops.attach({
    backingFile: await fileOf(join(parent, `${short}-metadata`), 4n << 20n),
  });
  const name = testName(short);
  await run(DMSETUP, "create", name, "--table", `0 ${METADATA_SECTORS} linear ${metadata.path} 0`);
  const folder = join(parent, short);
  const pool = await createPool({
    folder,
    kernel,
    blockSectors: 128n,
    backing: { type: "block", dataPath: data.path, metadataPath: `/dev/mapper/${name}` },
  });
  uuids.push(pool.uuid);
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  const takeDown = async (): Promise<void> => {
    await run(DMSETUP, "remove", name);
    await kernel.loops.detach(data.path);
    await kernel.loops.detach(metadata.path);
  };
  return { folder, pool, name, below: metadata.path, takeDown };
}

/** Snapshots until one is refused: a transaction may end before its failure is seen. */
async function changeUntilRefused(pool: ThinPool): Promise<void> {
  await assert.rejects(async () => {
    for (let made = 0; made < 64; made += 1) {
      await pool.snapshot({ origin: "base", name: `new-${made}` });
    }
  });
}

test("read-only and needs_check are told apart, and repair clears the flag of a sound pool", async () => {
  const { folder, pool, name, below, takeDown } = await sickPool("sick");
  // Read-only, as its table asks for.
  const table = (await run(DMSETUP, "table", poolName(pool))).trim();
  await reload(poolName(pool), table.replace(/ 0$/, " 1 read_only"));
  assert.equal((await pool.status()).state, "read-only");
  const snapshot = { origin: "base", name: "new" };
  await assert.rejects(pool.snapshot(snapshot), refusal("POOL_READ_ONLY"));
  await reload(poolName(pool), table);
  assert.equal((await pool.status()).state, "working");

  // The blocks in use can be read and written, new ones can't: a commit fails, its abort does not.
  const usable = 256;
  const rest = `${usable} ${METADATA_SECTORS - usable} error`;
  await reload(name, `0 ${usable} linear ${below} 0\n${rest}`);
  await changeUntilRefused(pool);
  assert.equal((await pool.status()).state, "needs-check");
  await pool.close();
  await reload(name, `0 ${METADATA_SECTORS} linear ${below} 0`);
  await assert.rejects(openPool({ folder, kernel }), refusal("POOL_NEEDS_CHECK"));
  assert.deepEqual(await repairPool({ folder, kernel }), { outcome: "already-sound" });
  const healed = await openPool({ folder, kernel });
  assert.equal((await healed.status()).state, "working");
  await healed.snapshot(snapshot);
  assert.deepEqual((await healed.check()).findings, []);
  await healed.close();
  await takeDown();
});

test("Fail: all of the metadata is out of reach", async () => {
  const { folder, pool, name, below, takeDown } = await sickPool("failed");
  await reload(name, `0 ${METADATA_SECTORS} error`);
  await changeUntilRefused(pool);
  assert.equal((await pool.status()).state, "failed");
  await pool.close();
  await reload(name, `0 ${METADATA_SECTORS} linear ${below} 0`);
  const again = await openPool({ folder, kernel });
  assert.equal((await again.status()).state, "working");
  assert.deepEqual((await again.check()).findings, []);
  await again.close();
  await takeDown();
});
