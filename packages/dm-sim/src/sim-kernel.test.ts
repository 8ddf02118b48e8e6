import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  type DmName,
  dmName,
  NativeError,
  sectors,
  thinFromStatus,
  thinPoolFromParams,
  thinPoolFromStatus,
} from "@thinpool/dm-native";
import { createSimKernel, SimCrash, type SimKernel } from "./index.ts";

const POOL = dmName("pool");
const POOL_PATH = "/dev/mapper/pool";
const DATA_BYTES = 64 << 20;
const METADATA_BYTES = 8 << 20;
const BLOCK_BYTES = 64 << 10;
const THIN_SECTORS = sectors((10 << 20) / 512);

let folder: string;
let sim: SimKernel;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dm-sim-"));
  for (const [name, size] of [
    ["data", DATA_BYTES],
    ["metadata", METADATA_BYTES],
  ] as const) {
    writeFileSync(join(folder, name), "");
    truncateSync(join(folder, name), size);
  }
  sim = createSimKernel({ seed: 1 });
});

afterEach(() => rmSync(folder, { recursive: true }));

async function make(name: DmName, type: string, params: string, length = THIN_SECTORS) {
  await sim.dm.createDevice(name);
  await sim.dm.loadTable({ name }, [
    { startSectors: sectors(0), lengthSectors: length, type, params },
  ]);
  return sim.dm.resume({ name });
}

async function makePool(features = "0"): Promise<void> {
  const metadata = await sim.loops.attach({ backingFile: join(folder, "metadata") });
  const data = await sim.loops.attach({ backingFile: join(folder, "data") });
  const params = `${metadata.path} ${data.path} 128 100 ${features}`;
  await make(POOL, "thin-pool", params, sectors(DATA_BYTES / 512));
}

async function makeThin(id: number): Promise<string> {
  await make(dmName(`thin${id}`), "thin", `${POOL_PATH} ${id}`);
  return `/dev/mapper/thin${id}`;
}

async function poolStatus(): Promise<string> {
  return (await sim.dm.tableStatus({ name: POOL }, { noFlush: true })).targets[0]?.params ?? "";
}

function message(text: string): Promise<string | undefined> {
  return sim.dm.message({ name: POOL }, text);
}

function code(wanted: string, errnoName?: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof NativeError &&
    error.code === wanted &&
    (errnoName === undefined || error.errnoName === errnoName);
}

describe("copy on write", () => {
  it("keeps a snapshot's bytes when its origin is written, and counts the blocks", async () => {
    await makePool();
    await message("create_thin 0");
    const origin = await makeThin(0);
    await sim.write(origin, 0, Buffer.alloc(3 * BLOCK_BYTES, "a"));
    await message("create_snap 1 0");
    assert.match(
      await poolStatus(),
      /^0 214\/2048 3\/1024 - rw discard_passdown queue_if_no_space - 512$/,
    );
    const clone = await makeThin(1);
    await sim.write(origin, 100, Buffer.from("changed"));
    assert.equal((await sim.read(clone, 100, 7)).toString(), "aaaaaaa");
    assert.equal((await sim.read(origin, 99, 9)).toString(), "achangeda");
    assert.match(await poolStatus(), / 4\/1024 /);
    assert.deepEqual(sim.checkMetadata(POOL_PATH), [0, 1]);
  });

  it("gives a mounted filesystem's clone by content", async () => {
    await makePool();
    await message("create_thin 0");
    const origin = await makeThin(0);
    await sim.filesystems.make({ path: origin, type: "ext4" });
    await message("create_snap 1 0");
    const clone = await makeThin(1);
    assert.equal((await sim.blocks.signature(clone))?.type, "ext4");
    const mount = await sim.mounts.mount({ source: clone, type: "ext4", target: "/m", flags: {} });
    assert.equal((await sim.dm.deviceStatus({ name: dmName("thin1") })).openCount, 1);
    await assert.rejects(sim.dm.removeDevice({ name: dmName("thin1") }), code("NATIVE_BUSY"));
    const letGo = sim.holdMount("/m");
    await assert.rejects(sim.mounts.unmount("/m"), code("NATIVE_BUSY"));
    letGo();
    await sim.mounts.unmount("/m", { mountId: mount.mountId });
    assert.deepEqual(await sim.mounts.list(), []);
  });
});

describe("power cut", () => {
  it("forgets what was not committed and keeps what was", async () => {
    await makePool();
    await message("create_thin 0");
    let path = await makeThin(0);
    await sim.write(path, 0, Buffer.from("kept"));
    await sim.flush(path);
    await sim.write(path, 0, Buffer.from("lost"));
    await sim.write(path, BLOCK_BYTES, Buffer.from("lost"));
    const before = sim;
    sim = sim.powerCut();
    await assert.rejects(before.dm.listDevices(), SimCrash);
    assert.deepEqual(await sim.leftovers(), []);
    await makePool();
    path = await makeThin(0);
    assert.equal((await sim.read(path, 0, 4)).toString(), "kept");
    assert.equal((await sim.read(path, BLOCK_BYTES, 4)).toString(), "\0\0\0\0");
    assert.match(await poolStatus(), / 1\/1024 /);
  });

  it("formats a new pool on files that replace the old", async () => {
    await makePool();
    await message("create_thin 0");
    sim = sim.powerCut();
    rmSync(join(folder, "metadata"));
    writeFileSync(join(folder, "metadata"), "");
    truncateSync(join(folder, "metadata"), METADATA_BYTES);
    await makePool();
    assert.deepEqual(sim.checkMetadata(POOL_PATH), []);
  });
});

describe("a full pool", () => {
  it("is out of data, takes deletes, and comes back", async () => {
    await makePool("1 error_if_no_space");
    await message("create_thin 0");
    const name = dmName("thin0");
    await make(name, "thin", `${POOL_PATH} 0`, sectors(2 * (DATA_BYTES / 512)));
    await sim.write("/dev/mapper/thin0", 0, Buffer.alloc(DATA_BYTES));
    const over = sim.write("/dev/mapper/thin0", DATA_BYTES, Buffer.alloc(512));
    await assert.rejects(over, code("NATIVE_NO_SPACE"));
    assert.match(await poolStatus(), / 1024\/1024 - out_of_data_space /);
    await sim.dm.removeDevice({ name });
    await message("delete 0");
    assert.match(await poolStatus(), / 0\/1024 - rw /);
  });
});

describe("faults", () => {
  it("fails the calls that match, so many times, without effect", async () => {
    await makePool();
    sim.failNext({ operation: "DM_TARGET_MSG", match: "create_thin", errno: "ENOSPC" });
    await assert.rejects(message("create_thin 0"), code("NATIVE_NO_SPACE", "ENOSPC"));
    assert.deepEqual(sim.checkMetadata(POOL_PATH), []);
    await message("create_thin 0");
    assert.equal(sim.calls["DM_TARGET_MSG"], 2);
  });

  for (const phase of ["before", "after"] as const) {
    it(`dies ${phase} the effect and lets nothing through until the next process`, async () => {
      await makePool();
      sim.onCall((call) => {
        if (call.detail === "create_thin 0" && call.phase === phase) throw new SimCrash(phase);
      });
      await assert.rejects(message("create_thin 0"), SimCrash);
      await assert.rejects(message("delete 0"), SimCrash);
      sim.processDeath();
      assert.deepEqual(sim.checkMetadata(POOL_PATH), phase === "before" ? [] : [0]);
    });
  }

  it("takes no message when read-only, and needs the check that clears the flag", async () => {
    await makePool();
    sim.setPoolMode(POOL_PATH, "read-only", { needsCheck: true });
    assert.match(await poolStatus(), / ro .* needs_check /);
    await assert.rejects(message("create_thin 0"), code("NATIVE_REFUSED", "EOPNOTSUPP"));
    await sim.dm.suspend({ name: POOL });
    await sim.dm.resume({ name: POOL });
    assert.match(await poolStatus(), / ro .* needs_check /);
    await sim.dm.removeDevice({ name: POOL });
    sim.clearNeedsCheck("/dev/loop0");
    for (const loop of await sim.loops.list()) await sim.loops.detach(loop.path);
    await makePool();
    assert.match(await poolStatus(), / rw /);
  });

  it("says Fail when the pool has failed", async () => {
    await makePool();
    await message("create_thin 0");
    await makeThin(0);
    sim.setPoolMode(POOL_PATH, "fail");
    assert.equal(await poolStatus(), "Fail");
    const thin = await sim.dm.tableStatus({ name: dmName("thin0") });
    assert.equal(thin.targets[0]?.params, "Fail");
  });
});

describe("loops", () => {
  it("goes at its last close when it was detached while open", async () => {
    await makePool();
    assert.equal(await sim.loops.detach("/dev/loop0"), "deferred");
    await sim.dm.removeDevice({ name: POOL });
    assert.deepEqual(
      (await sim.loops.list()).map((loop) => loop.path),
      ["/dev/loop1"],
    );
    assert.equal(await sim.loops.detach("/dev/loop1"), "detached");
    assert.deepEqual(await sim.leftovers(), []);
  });
});

describe("raw disks", () => {
  it("carry a signature and survive a power cut", async () => {
    sim.addBlockDevice({ path: "/dev/sdb", sizeBytes: 1n << 30n, signature: "LVM2_member" });
    sim = sim.powerCut();
    assert.equal((await sim.blocks.signature("/dev/sdb"))?.type, "LVM2_member");
    assert.equal(await sim.blocks.sizeBytes("/dev/sdb"), 1n << 30n);
    await sim.blocks.zeroOut("/dev/sdb", { offsetBytes: 0n, lengthBytes: 4096n });
    assert.equal(await sim.blocks.signature("/dev/sdb"), undefined);
  });
});

describe("events", () => {
  it("wakes who waits for a device, and the poll", async () => {
    await makePool();
    await using poll = await sim.dm.openEventPoll();
    assert.equal(await poll.wait({ timeoutMs: 1 }), false);
    const waiting = sim.dm.waitEvent({ name: POOL }, { eventNr: 0 });
    sim.setPoolMode(POOL_PATH, "read-only");
    assert.equal((await waiting).info.eventNr, 1);
    assert.equal(await poll.wait({ timeoutMs: 1000 }), true);
  });
});

describe("status and table lines", () => {
  it("are understood by the real bindings' parsers, in every mode", async () => {
    await makePool("1 error_if_no_space");
    await message("create_thin 0");
    await makeThin(0);
    const { targets } = await sim.dm.table({ name: POOL });
    thinPoolFromParams(targets[0]?.params ?? "");
    for (const mode of ["write", "out-of-data", "out-of-metadata", "read-only", "fail"] as const) {
      sim.setPoolMode(POOL_PATH, mode);
      thinPoolFromStatus(await poolStatus());
      const thin = await sim.dm.tableStatus({ name: dmName("thin0") });
      thinFromStatus(thin.targets[0]?.params ?? "");
    }
  });
});

describe("mounts", () => {
  it("knows nothing of a place where nothing is mounted", async () => {
    await assert.rejects(sim.mounts.unmount("/m"), code("NATIVE_NOT_FOUND", "EINVAL"));
    await assert.rejects(sim.mounts.freeze("/m"), code("NATIVE_NOT_FOUND"));
  });

  it("refuses a device without that filesystem, and an XFS twin without nouuid", async () => {
    sim.addBlockDevice({ path: "/dev/sdb", sizeBytes: 1n << 30n });
    sim.addBlockDevice({ path: "/dev/sdc", sizeBytes: 1n << 30n });
    const mount = (source: string, target: string, options = {}) =>
      sim.mounts.mount({ source, type: "xfs", target, flags: {}, options });
    await assert.rejects(mount("/dev/sdb", "/m"), code("NATIVE_INVALID", "EINVAL"));
    await sim.filesystems.make({ path: "/dev/sdb", type: "xfs" });
    await sim.write("/dev/sdc", 0, await sim.read("/dev/sdb", 0, 4096));
    await mount("/dev/sdb", "/m");
    assert.equal(await sim.blocks.inUse("/dev/sdb"), true);
    await assert.rejects(mount("/dev/sdc", "/n"), code("NATIVE_INVALID", "EINVAL"));
    await mount("/dev/sdc", "/n", { nouuid: true });
    await sim.mounts.freeze("/n");
    await assert.rejects(sim.mounts.freeze("/n"), code("NATIVE_BUSY", "EBUSY"));
    await sim.mounts.thaw("/n");
  });

  it("gives trimmed blocks back to the pool", async () => {
    await makePool();
    await message("create_thin 0");
    const path = await makeThin(0);
    await sim.filesystems.make({ path, type: "ext4" });
    await sim.write(path, BLOCK_BYTES, Buffer.alloc(2 * BLOCK_BYTES));
    assert.match(await poolStatus(), / 3\/1024 /);
    await sim.mounts.mount({ source: path, type: "ext4", target: "/m", flags: {} });
    await sim.mounts.trim("/m");
    await sim.flush(path);
    assert.match(await poolStatus(), / 1\/1024 /);
  });
});

describe("mounts, as on Linux", () => {
  const at = (source: string, target: string, readOnly = false) =>
    sim.mounts.mount({ source, type: "ext4", target, flags: { readOnly } });

  async function twoFilesystems(): Promise<void> {
    for (const path of ["/dev/sda", "/dev/sdb"]) {
      sim.addBlockDevice({ path, sizeBytes: 1 << 20 });
      await sim.filesystems.make({ path, type: "ext4" });
    }
  }

  it("has one read-only state for all mounts of a filesystem", async () => {
    await twoFilesystems();
    await at("/dev/sda", "/m");
    await assert.rejects(at("/dev/sda", "/n", true), code("NATIVE_BUSY", "EBUSY"));
    await at("/dev/sda", "/n");
    await sim.mounts.unmount("/m");
    await sim.mounts.unmount("/n");
    await at("/dev/sda", "/n", true);
    await assert.rejects(at("/dev/sda", "/m"), code("NATIVE_BUSY", "EBUSY"));
  });

  it("keeps a mount that has another inside; lazily both go", async () => {
    await twoFilesystems();
    const outer = await at("/dev/sda", "/m");
    const inner = await at("/dev/sdb", "/m/in");
    const beside = await at("/dev/sdb", "/more");
    assert.equal(inner.parentId, outer.mountId);
    assert.equal(beside.parentId, outer.parentId);
    await assert.rejects(sim.mounts.unmount("/m"), code("NATIVE_BUSY", "EBUSY"));
    assert.equal((await sim.mounts.list()).length, 3);
    await sim.mounts.unmount("/m", { lazy: true });
    assert.deepEqual(await sim.mounts.list(), [beside]);
    await sim.mounts.unmount("/more");
    // Nothing has the devices open any more.
    for (const path of ["/dev/sda", "/dev/sdb"]) assert.equal(await sim.blocks.inUse(path), false);
  });

  it("has no filesystem of another type", async () => {
    await twoFilesystems();
    const unknown = { source: "/dev/sda", type: "btrfs", target: "/m", flags: {} };
    await assert.rejects(sim.mounts.mount(unknown), code("NATIVE_UNSUPPORTED", "ENODEV"));
  });
});

describe("loops, as on Linux", () => {
  it("refuses what is no file by its errno, as an error of the interface", async () => {
    const attach = (backingFile: string) => sim.loops.attach({ backingFile });
    await assert.rejects(attach(join(folder, "data", "x")), code("NATIVE_IO", "ENOTDIR"));
    await assert.rejects(attach(folder), code("NATIVE_IO", "EISDIR"));
    await assert.rejects(attach("/dev/null"), code("NATIVE_INVALID", "EINVAL"));
    await assert.rejects(attach(join(folder, "none")), code("NATIVE_NOT_FOUND", "ENOENT"));
  });

  it("keeps its file when that is removed, or another takes its path", async () => {
    const path = join(folder, "data");
    const loop = await sim.loops.attach({ backingFile: path });
    rmSync(path);
    await sim.loops.refreshCapacity(loop.path);
    writeFileSync(path, "");
    truncateSync(path, 2 * DATA_BYTES);
    await sim.loops.refreshCapacity(loop.path);
    assert.equal(await sim.blocks.sizeBytes(loop.path), BigInt(DATA_BYTES));
    assert.deepEqual(await sim.loops.findByBackingFile(path), []);
  });
});

describe("event polls", () => {
  it("end with an error of the interface when they are closed, and wait no more", async () => {
    const events = await sim.dm.openEventPoll();
    const waiting = events.wait({ timeoutMs: 60_000 });
    await events.close();
    await assert.rejects(waiting, code("NATIVE_REFUSED"));
    await sim.dm.createDevice(dmName("later"));
    await assert.rejects(events.wait({ timeoutMs: 0 }), code("NATIVE_REFUSED"));
  });
});

describe("several pools on one disk", () => {
  it("have a metadata each, by its place", async () => {
    sim.addBlockDevice({ path: "/dev/sda", sizeBytes: 64 << 20 });
    const METADATA_SECTORS = sectors(METADATA_BYTES / 512);
    const start = async (number: number): Promise<DmName> => {
      const [metadata, data] = [dmName(`metadata${number}`), dmName(`data${number}`)];
      const at = (METADATA_BYTES / 512) * number;
      await make(metadata, "linear", `/dev/sda ${at}`, METADATA_SECTORS);
      await make(data, "linear", `/dev/sda ${at + 40_960}`, METADATA_SECTORS);
      const devices = `/dev/mapper/${metadata} /dev/mapper/${data}`;
      await make(dmName(`pool${number}`), "thin-pool", `${devices} 128 0`, METADATA_SECTORS);
      return dmName(`pool${number}`);
    };
    for (const number of [0, 1]) {
      const name = await start(number);
      await sim.dm.message({ name }, `create_thin ${number}`);
    }
    await sim.dm.removeAll();
    for (const number of [0, 1]) {
      assert.deepEqual(sim.checkMetadata(`/dev/mapper/${await start(number)}`), [number]);
    }
  });
});
