/** A pool that dmsetup made is adopted, contents verified; and a pool is destroyed. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { adoptPool, createPool, destroyPool, openPool } from "@thinpool/thinpool";
import {
  BACKING,
  fileOf,
  kernel,
  nothingLeft,
  rawPool,
  readBlocks,
  refusal,
  testName,
  writeBlocks,
} from "./health-fixture.ts";
import { run, SUFFIX } from "./native-fixture.ts";

const DMSETUP = "/usr/sbin/dmsetup";
const uuids: string[] = [];
let parent: string;

before(async () => {
  parent = await mkdtemp(`/tmp/adopt-${SUFFIX}-`);
});

after(async () => {
  await nothingLeft(parent, uuids);
  await kernel[Symbol.asyncDispose]();
});

async function withMount(path: string, body: (at: string) => Promise<void>): Promise<void> {
  const target = await mkdtemp(join(parent, "mnt-"));
  await kernel.mounts.mount({ source: path, type: "ext4", target, flags: {} });
  try {
    await body(target);
  } finally {
    await kernel.mounts.unmount(target);
  }
}

test("devices, sizes and contents of a dmsetup-made pool", async () => {
  const dataPath = await fileOf(join(parent, "data"), 128n << 20n);
  const metadataPath = await fileOf(join(parent, "metadata"), 4n << 20n);
  const data = await kernel.loops.attach({ backingFile: dataPath });
  const metadata = await kernel.loops.attach({ backingFile: metadataPath });
  const [pool, thin] = [testName("pool"), testName("thin")];
  const table = `0 ${(128 << 20) / 512} thin-pool ${metadata.path} ${data.path} 128 0`;
  await run(DMSETUP, "create", pool, "--table", table);
  for (const message of ["create_thin 3", "create_thin 8", "create_thin 11"]) {
    await run(DMSETUP, "message", `/dev/mapper/${pool}`, "0", message);
  }
  await run(DMSETUP, "create", thin, "--table", `0 81920 thin /dev/mapper/${pool} 3`);
  await run("/usr/sbin/mkfs.ext4", "-q", `/dev/mapper/${thin}`);
  await withMount(`/dev/mapper/${thin}`, (at) => writeFile(join(at, "file"), "kept"));
  await run(DMSETUP, "remove", thin);
  await run(DMSETUP, "create", thin, "--table", `0 32768 thin /dev/mapper/${pool} 8`);
  await writeBlocks(`/dev/mapper/${thin}`, [0, 100], "x");
  await run(DMSETUP, "remove", thin);

  const folder = join(parent, "adopted");
  const options = {
    folder,
    kernel,
    backing: { type: "files", dataPath, metadataPath },
    name: (id: number) => `vm-${id}`,
    sizeBytes: (id: number) => (id === 11 ? 8n << 20n : undefined),
  } as const;
  await assert.rejects(adoptPool(options), refusal("DEVICE_BUSY", /in use/));
  await run(DMSETUP, "remove", pool);
  await kernel.loops.detach(data.path);
  await kernel.loops.detach(metadata.path);

  const adopted = await adoptPool(options);
  uuids.push(adopted.pool.uuid);
  assert.deepEqual(adopted.devices, [
    { name: "vm-3", thinId: 3, sizeBytes: 40n << 20n, sizeFrom: "filesystem" },
    { name: "vm-8", thinId: 8, sizeBytes: 101n * 65_536n, sizeFrom: "mapped" },
    { name: "vm-11", thinId: 11, sizeBytes: 8n << 20n, sizeFrom: "given" },
  ]);
  const report = await adopted.pool.check({ mappings: true });
  assert.deepEqual([report.metadata, report.findings], ["clean", []]);
  await adopted.pool.close();

  const opened = await openPool({ folder, kernel });
  const { device: raw } = await opened.activate({ name: "vm-8" });
  assert.equal(await readBlocks(raw.path, [0, 1, 100]), "x-x");
  const { device: clone } = await opened.snapshot({
    origin: "vm-3",
    name: "clone",
    activate: true,
  });
  assert.equal(clone.filesystem, "ext4");
  await withMount(clone.path, async (at) => {
    assert.equal(await readFile(join(at, "file"), "utf8"), "kept");
  });
  await opened.close();
  await destroyPool({ folder, kernel });
  const left = await readdir(parent);
  assert.deepEqual(
    left.filter((name) => !name.startsWith("mnt-")),
    [],
  );
});

test("destroying refuses what is mounted, and erases block devices' metadata", async () => {
  const folder = join(parent, "files");
  const pool = await rawPool(folder);
  uuids.push(pool.uuid);
  await pool.createDevice({ name: "fs", sizeBytes: 16n << 20n });
  const { device } = await pool.activate({ name: "fs" });
  await pool.detach();
  await withMount(device.path, async () => {
    await assert.rejects(destroyPool({ folder, kernel }), refusal("DEVICE_BUSY"));
  });
  assert.deepEqual(await destroyPool({ folder, kernel }), { outcome: "destroyed" });

  const data = await kernel.loops.attach({
    backingFile: await fileOf(join(parent, "disk-data"), BACKING.dataBytes ?? 0n),
  });
  const metadata = await kernel.loops.attach({
    backingFile: await fileOf(join(parent, "disk-metadata"), BACKING.metadataBytes ?? 0n),
  });
  const backing = { type: "block", dataPath: data.path, metadataPath: metadata.path } as const;
  for (let round = 0; round < 2; round += 1) {
    const made = await createPool({ folder, kernel, blockSectors: 128n, backing });
    uuids.push(made.uuid);
    await made.close();
    await destroyPool({ folder, kernel });
  }
  await kernel.loops.detach(data.path);
  await kernel.loops.detach(metadata.path);
});
