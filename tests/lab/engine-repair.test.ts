/** Repair, backup and restore against the kernel and the tools themselves, contents verified. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  checkPool,
  listBackups,
  openPool,
  repairPool,
  restorePool,
  type ThinPool,
} from "@thinpool/thinpool";
import {
  kernel,
  nothingLeft,
  overwrite,
  rawPool,
  readBlocks,
  refusal,
  stopUnclean,
  writeBlocks,
} from "./health-fixture.ts";
import { firstOutput, startModule, SUFFIX } from "./native-fixture.ts";

const uuids: string[] = [];
let parent: string;

before(async () => {
  parent = await mkdtemp(`/tmp/repair-${SUFFIX}-`);
});

after(async () => {
  await nothingLeft(parent, uuids);
  await kernel[Symbol.asyncDispose]();
});

/** A pool that was not closed: "base" with blocks a, "one" a snapshot before b was written. */
async function stopped(name: string): Promise<{ folder: string; pool: ThinPool }> {
  const folder = join(parent, name);
  const pool = await rawPool(folder);
  uuids.push(pool.uuid);
  const { path } = pool.get({ name: "base" });
  await writeBlocks(path, [0, 1, 2], "a");
  await pool.snapshot({ origin: "base", name: "one" });
  await writeBlocks(path, [1], "b");
  return { folder, pool };
}

async function contents(pool: ThinPool): Promise<Readonly<Record<string, string>>> {
  const out: Record<string, string> = {};
  for (const { name } of pool.list()) {
    const { device } = await pool.activate({ name });
    out[name] = await readBlocks(device.path, [0, 1, 2, 3]);
  }
  return out;
}

const WHOLE = { base: "aba-", one: "aaa-" };

test("a lost superblock: repair mends it, contents are whole, the original is kept", async () => {
  const { folder, pool } = await stopped("superblock");
  await stopUnclean(pool);
  const metadata = join(folder, "metadata");
  await overwrite(metadata, 0, 1);
  const damaged = await readFile(metadata);
  await assert.rejects(openPool({ folder, kernel }), refusal("POOL_NEEDS_REPAIR"));
  const result = await repairPool({ folder, kernel });
  assert.ok(result.outcome === "repaired");
  assert.deepEqual(result.lost, []);
  assert.match(result.report, /superblock/);
  assert.ok((await readFile(result.keptPath)).equals(damaged));
  assert.equal((await stat(metadata)).size, damaged.length);
  const report = await checkPool({ folder, kernel, mappings: true });
  assert.deepEqual([report.metadata, report.findings], ["clean", []]);
  const again = await openPool({ folder, kernel });
  assert.deepEqual(await contents(again), WHOLE);
  await again.close();
  assert.deepEqual(await repairPool({ folder, kernel }), { outcome: "already-sound" });
});

test("metadata of which nothing can be saved: repair says so, and a backup is put back", async () => {
  const { folder, pool } = await stopped("restore");
  const { name, transactionId } = await pool.backup();
  assert.equal(transactionId, 2n);
  // A backup holds the maps, not the blocks: what the host got back would be gone.
  await pool.setPolicy({ giveBackRemoved: false });
  await pool.remove({ name: "one" });
  await stopUnclean(pool);
  const metadata = join(folder, "metadata");
  await overwrite(metadata, 0, 1024);
  const damaged = await readFile(metadata);
  await assert.rejects(repairPool({ folder, kernel }), refusal("POOL_NEEDS_REPAIR"));
  assert.ok((await readFile(metadata)).equals(damaged));

  assert.deepEqual(
    (await listBackups({ folder })).map((backup) => backup.name),
    [name],
  );
  const result = await restorePool({ folder, kernel });
  assert.deepEqual([result.backup, result.transactionId], [name, 2n]);
  assert.ok((await readFile(result.keptMetadataPath)).equals(damaged));
  const restored = await openPool({ folder, kernel });
  assert.deepEqual(await contents(restored), WHOLE);
  const report = await restored.check({ mappings: true });
  assert.deepEqual([report.metadata, report.findings], ["clean", []]);
  await restored.snapshot({ origin: "one", name: "next" });
  await restored.close();
});

const REPAIR = `
  import { linuxKernel, repairPool } from "@thinpool/thinpool";
  const kernel = linuxKernel();
  const { repair } = kernel.metadataTools;
  kernel.metadataTools.repair = async (options) => {
    await repair.call(kernel.metadataTools, options);
    console.log("rebuilt");
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  };
  await repairPool({ folder: process.argv[1], kernel });
`;

test("a repair that was killed half-way can be repeated", async () => {
  const { folder, pool } = await stopped("killed");
  await stopUnclean(pool);
  await overwrite(join(folder, "metadata"), 0, 1);
  const child = startModule(REPAIR, folder);
  await firstOutput(child);
  await assert.rejects(repairPool({ folder, kernel }), refusal("POOL_LOCKED"));
  child.kill("SIGKILL");
  await once(child, "exit");
  // The loops were the child's own and went with it; the damaged metadata is where it was.
  const loops = await kernel.loops.list();
  assert.deepEqual(
    loops.filter(({ backingFile }) => backingFile.startsWith(folder)),
    [],
  );
  await assert.rejects(openPool({ folder, kernel }), refusal("POOL_NEEDS_REPAIR"));
  const result = await repairPool({ folder, kernel });
  assert.equal(result.outcome, "repaired");
  const again = await openPool({ folder, kernel });
  assert.deepEqual(await contents(again), WHOLE);
  await again.close();
});
