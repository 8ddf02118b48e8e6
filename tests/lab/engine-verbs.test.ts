/** The engine's verbs beyond making and removing devices, on the kernel and its filesystems. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { mkdir, mkdtemp, open, readFile, rm, statfs, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  createPool,
  type Device,
  linuxKernel,
  openPool,
  planRecovery,
  type ThinPool,
} from "@thinpool/thinpool";
import { run, SUFFIX } from "./native-fixture.ts";

const kernel = linuxKernel();
const BACKING = { type: "files", dataBytes: 2n << 30n, metadataBytes: 8n << 20n } as const;
const MIB = 1n << 20n;
let parent: string;
let folder: string;
let pool: ThinPool;

before(async () => {
  parent = await mkdtemp(`/tmp/engine-verbs-${SUFFIX}-`);
  folder = join(parent, "pool");
  pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: 64n * MIB });
});

after(async () => {
  const { uuid } = pool;
  await pool.close();
  const prefix = `thinpool-${uuid.slice(0, 8)}-`;
  const devices = (await kernel.dm.listDevices()).filter(({ name }) => name.startsWith(prefix));
  const loops = (await kernel.loops.list()).filter((loop) => loop.backingFile.startsWith(folder));
  const mounts = (await kernel.mounts.list()).filter((entry) =>
    entry.mountPoint.startsWith(parent),
  );
  assert.deepEqual([devices, loops, mounts], [[], [], []]);
  // Through a loop device: thin_check opens with O_DIRECT, which a tmpfs does not know.
  const loop = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  try {
    await run("/usr/sbin/thin_check", loop.path);
  } finally {
    await kernel.loops.detach(loop.path);
    await rm(parent, { recursive: true, force: true });
  }
});

async function mounted<T>(
  device: Device,
  body: (at: string) => Promise<T>,
  options: { readonly readOnly?: boolean } = {},
): Promise<T> {
  const target = join(parent, `mnt-${device.name}`);
  await mkdir(target, { recursive: true });
  await kernel.mounts.mount({
    source: device.path,
    type: device.filesystem,
    target,
    flags: { noSuid: true, readOnly: options.readOnly ?? false },
    ...(device.filesystem === "xfs" ? { options: { nouuid: true } } : {}),
  });
  try {
    return await body(target);
  } finally {
    await kernel.mounts.unmount(target);
  }
}

async function clone(name: string, origin = "base"): Promise<Device> {
  return (await pool.snapshot({ origin, name, activate: true })).device;
}

test("50 snapshots asked for at once share a few transactions, and each is whole", async () => {
  const { transactionId } = await pool.status();
  const names = Array.from({ length: 50 }, (_, index) => `many-${index}`);
  const made = await Promise.all(names.map((name) => pool.snapshot({ origin: "base", name })));
  const used = (await pool.status()).transactionId - transactionId;
  assert.ok(used <= 5n, `${used} transactions`);
  assert.equal(new Set(made.map(({ device }) => device.thinId)).size, names.length);
  const last = (await pool.activate({ name: "many-49" })).device;
  await mounted(last, (at) => writeFile(join(at, "file"), "here"));
  await Promise.all(names.map((name) => pool.remove({ name })));
  const all = (await pool.status()).transactionId - transactionId;
  // Each when its discard is done, so how many share one depends on the machine: some do on each.
  assert.ok(all <= 30n, `${all} transactions with the removals`);
  assert.deepEqual(
    pool.list().map(({ name }) => name),
    ["base"],
  );
});

test("what a planning that was killed left up, read-only, is no obstacle to opening", async () => {
  const { blockSizeBytes, lowWaterBytes, dataTotalBytes } = await pool.status();
  await pool.close();
  const { path: metadata } = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  const { path: data } = await kernel.loops.attach({ backingFile: join(folder, "data") });
  const lowWater = lowWaterBytes / blockSizeBytes;
  const params = `${metadata} ${data} ${blockSizeBytes / 512n} ${lowWater} 1 read_only`;
  const table = `0 ${dataTotalBytes / 512n} thin-pool ${params}`;
  const name = `thinpool-${pool.uuid.slice(0, 8)}-pool`;
  const uuid = `THINPOOL-${pool.uuid.replaceAll("-", "")}-pool`;
  await run("/usr/sbin/dmsetup", "create", name, "--uuid", uuid, "--table", table);
  assert.deepEqual((await planRecovery({ folder, kernel })).decisions, []);
  await run("/usr/sbin/dmsetup", "create", name, "--uuid", uuid, "--table", table);
  pool = await openPool({ folder, kernel });
  assert.equal((await pool.status()).state, "working");
  await clone("after-look");
  await pool.remove({ name: "after-look" });
});

test("snapshots of one moment: a counter written to two devices in turn never differs by more than one", async () => {
  const [first, second] = [await clone("one"), await clone("two")];
  await mounted(first, (atFirst) =>
    mounted(second, async (atSecond) => {
      const stop = new AbortController();
      const rounds = new EventEmitter();
      const write = async (): Promise<void> => {
        for (let count = 1; !stop.signal.aborted; count += 1) {
          // Synced, so that what is in the snapshot is what was written when it was taken.
          await writeFile(join(atFirst, "count"), String(count), { flush: true });
          await writeFile(join(atSecond, "count"), String(count), { flush: true });
          rounds.emit("written");
        }
      };
      const writing = write();
      for (const round of ["a", "b", "c"]) {
        await once(rounds, "written");
        const { devices, pauseMs } = await pool.snapshotMany({
          snapshots: ["one", "two"].map((origin) => ({ origin, name: `${origin}-${round}` })),
        });
        assert.equal(devices.length, 2);
        assert.ok(pauseMs > 0 && pauseMs < 60_000, `${pauseMs} ms`);
      }
      stop.abort();
      await writing;
    }),
  );
  const read = async (name: string): Promise<number> => {
    const { device } = await pool.activate({ name });
    const text = await mounted(device, (at) => readFile(join(at, "count"), "utf8"));
    await pool.remove({ name });
    return Number(text);
  };
  for (const round of ["a", "b", "c"]) {
    const [ahead, behind] = [await read(`one-${round}`), await read(`two-${round}`)];
    // An empty file (truncated, not yet written) reads as 0.
    assert.ok(ahead === 0 || behind === 0 || ahead - behind === 0 || ahead - behind === 1);
  }
  await pool.remove({ name: "one" });
  await pool.remove({ name: "two" });
});

test("rename while mounted: the mount goes on, the node has the new name, opening finds it", async () => {
  const device = await clone("old");
  await mounted(device, async (at) => {
    const renamed = await pool.rename({ name: "old", to: "new" });
    assert.equal(renamed.device.uuid, device.uuid);
    await writeFile(join(at, "file"), "here");
    assert.ok((await kernel.blocks.sizeBytes(renamed.device.path)) > 0n);
    await assert.rejects(kernel.blocks.sizeBytes(device.path));
    await pool.detach();
    pool = await openPool({ folder, kernel });
    assert.equal(pool.get({ name: "new" }).active, true);
  });
  await pool.remove({ name: "new" });
});

async function totalBytes(at: string): Promise<bigint> {
  const { blocks, bsize } = await statfs(at, { bigint: true });
  return blocks * bsize;
}

test("ext4 grows while mounted and while not, and keeps what it holds", async () => {
  const device = await clone("ext4");
  const content = Buffer.alloc(1 << 20, "content");
  await mounted(device, async (at) => {
    await writeFile(join(at, "file"), content);
    const grown = await pool.resize({ name: "ext4", sizeBytes: 128n * MIB });
    assert.deepEqual([grown.outcome, grown.filesystem], ["grown", "grown"]);
    assert.ok((await totalBytes(at)) > 100n * MIB);
  });
  // Active and not mounted, then inactive: checked and grown without a mount.
  assert.equal((await pool.resize({ name: "ext4", sizeBytes: 160n * MIB })).filesystem, "grown");
  await pool.deactivate({ name: "ext4" });
  assert.equal((await pool.resize({ name: "ext4", sizeBytes: 192n * MIB })).filesystem, "grown");
  const { device: again } = await pool.activate({ name: "ext4" });
  await mounted(again, async (at) => {
    assert.ok((await totalBytes(at)) > 160n * MIB);
    assert.deepEqual(await readFile(join(at, "file")), content);
  });
  await pool.remove({ name: "ext4" });
});

test("xfs grows while mounted; unmounted it says later; its clones mount beside it", async () => {
  await pool.createDevice({ name: "xfs", sizeBytes: 320n * MIB, filesystem: "xfs" });
  const later = await pool.resize({ name: "xfs", sizeBytes: 384n * MIB });
  assert.deepEqual([later.filesystem, later.device.filesystemSmaller], ["later", true]);
  const { device } = await pool.activate({ name: "xfs" });
  await mounted(device, async (at) => {
    await writeFile(join(at, "file"), "kept", { flush: true });
    const copy = await clone("xfs-clone", "xfs");
    await mounted(copy, async (beside) => {
      assert.equal(await readFile(join(beside, "file"), "utf8"), "kept");
    });
    const grown = await pool.resize({ name: "xfs", sizeBytes: 384n * MIB });
    assert.deepEqual([grown.filesystem, grown.device.filesystemSmaller], ["grown", false]);
    assert.ok((await totalBytes(at)) > 300n * MIB);
    assert.equal(await readFile(join(at, "file"), "utf8"), "kept");
  });
  await pool.remove({ name: "xfs-clone" });
  await pool.remove({ name: "xfs" });
});

test("revert brings the snapshot's files back, and gives the blocks of the later ones back", async () => {
  const device = await clone("work");
  await mounted(device, async (at) => {
    await writeFile(join(at, "file"), "first");
    await pool.snapshot({ origin: "work", name: "work-1" });
    await writeFile(join(at, "file"), "second");
    await writeFile(join(at, "large"), Buffer.alloc(8 << 20, "x"), { flush: true });
    await assert.rejects(pool.revert({ name: "work", snapshot: "work-1" }), {
      code: "DEVICE_BUSY",
    });
  });
  const full = (await pool.status()).dataUsedBytes;
  const { device: reverted, oldContent } = await pool.revert({ name: "work", snapshot: "work-1" });
  assert.deepEqual([reverted.uuid, reverted.active, oldContent], [device.uuid, true, "removed"]);
  assert.ok((await pool.status()).dataUsedBytes < full - 4n * MIB);
  await mounted(reverted, async (at) => {
    assert.equal(await readFile(join(at, "file"), "utf8"), "first");
    await assert.rejects(readFile(join(at, "large")), { code: "ENOENT" });
  });
  await pool.remove({ name: "work" });
  await pool.remove({ name: "work-1" });
});

test("a read-only device: mounts read-only, refuses to be written", async () => {
  const origin = await clone("origin");
  await mounted(origin, (at) => writeFile(join(at, "file"), "here"));
  const { device } = await pool.snapshot({
    origin: "origin",
    name: "frozen",
    readOnly: true,
    activate: true,
  });
  const read = (at: string): Promise<string> => readFile(join(at, "file"), "utf8");
  assert.equal(await mounted(device, read, { readOnly: true }), "here");
  await assert.rejects(mounted(device, read), (error) => error instanceof Error);
  await pool.remove({ name: "frozen" });
  await pool.remove({ name: "origin" });
});

test("an external origin: its files are in the device, and it stays as it is", async () => {
  const image = join(parent, "golden");
  await writeFile(image, "");
  await truncate(image, 32 << 20);
  await run("/usr/sbin/mkfs.ext4", "-q", image);
  const sum = async (): Promise<string> =>
    createHash("sha256")
      .update(await readFile(image))
      .digest("hex");
  const original = await sum();
  const loop = await kernel.loops.attach({ backingFile: image, readOnly: true });
  const externalOrigin = loop.path;
  const { device } = await pool.createDevice({ name: "on-golden", externalOrigin });
  assert.deepEqual([device.sizeBytes, device.filesystem], [32n * MIB, "ext4"]);
  const { device: active } = await pool.activate({ name: "on-golden" });
  await mounted(active, (at) => writeFile(join(at, "file"), "mine"));
  const copy = await clone("on-golden-2", "on-golden");
  await mounted(copy, async (at) => {
    assert.equal(await readFile(join(at, "file"), "utf8"), "mine");
  });
  assert.equal(await sum(), original);
  await pool.remove({ name: "on-golden-2" });
  await pool.remove({ name: "on-golden" });
  await kernel.loops.detach(loop.path);
});

test("deferred deactivation of a mounted device: gone when it is unmounted", async () => {
  const device = await clone("leaving");
  await mounted(device, async (at) => {
    assert.equal((await pool.deactivate({ name: "leaving", deferred: true })).outcome, "deferred");
    await writeFile(join(at, "file"), "still there");
  });
  await assert.rejects(kernel.blocks.sizeBytes(device.path));
  const { outcome, device: again } = await pool.activate({ name: "leaving" });
  assert.equal(outcome, "activated");
  await mounted(again, async (at) => {
    assert.equal(await readFile(join(at, "file"), "utf8"), "still there");
    await assert.rejects(pool.deactivate({ name: "leaving" }), (error) => {
      // The hint says who has it.
      assert.match((error as Error).message, /the mount at .*mnt-leaving/);
      return true;
    });
  });
  // One that has the node itself open is named as well.
  const file = await open(again.path, "r");
  await assert.rejects(pool.remove({ name: "leaving" }), (error) => {
    assert.match((error as Error).message, new RegExp(`process ${process.pid} `));
    return true;
  });
  await file.close();
  await pool.remove({ name: "leaving" });
});
