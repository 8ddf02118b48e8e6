/** Each verb beyond making and removing devices: what it does, what it refuses, that it can be asked again. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { NativeError } from "@thinpool/dm-native";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "../create-pool.ts";
import { PoolError } from "../errors.ts";
import { openPool } from "../open-pool.ts";
import { planRecovery } from "../plan-recovery.ts";
import type { ThinPool } from "../pool.ts";

const SIZES = { type: "files", dataBytes: 512n << 20n, metadataBytes: 4n << 20n } as const;
const MIB = 1n << 20n;
let parent: string;
let folder: string;
let kernel: SimKernel;
let pool: ThinPool;

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "thinpool-verbs-"));
});

after(() => rm(parent, { recursive: true }));

beforeEach(async () => {
  kernel = createSimKernel();
  folder = await mkdtemp(join(parent, "pool-"));
  pool = await createPool({ folder, kernel, backing: SIZES });
  await pool.createDevice({ name: "base", sizeBytes: 16n * MIB });
});

async function dmNames(): Promise<readonly string[]> {
  const names = (await kernel.dm.listDevices()).map(({ name }) => name);
  return names.map((name) => name.replace(/^thinpool-[0-9a-f]{8}-/, "")).toSorted();
}

async function closed(): Promise<void> {
  await pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
}

test("rename: inactive, active, asked again; a taken name, and a removed one's", async () => {
  await pool.snapshot({ origin: "base", name: "a", activate: true });
  await pool.snapshot({ origin: "base", name: "gone" });
  await pool.remove({ name: "gone" });
  const { uuid } = pool.get({ name: "a" });
  const renamed = await pool.rename({ name: "a", to: "gone" });
  assert.equal(renamed.outcome, "renamed");
  assert.equal(renamed.device.uuid, uuid);
  assert.deepEqual(await dmNames(), ["dev-gone", "pool"]);
  assert.equal((await kernel.blocks.signature(renamed.device.path))?.type, "ext4");
  assert.equal((await pool.rename({ name: "gone", to: "gone" })).outcome, "already-so");
  await assert.rejects(pool.rename({ name: "gone", to: "base" }), { code: "DEVICE_EXISTS" });
  await assert.rejects(pool.rename({ name: "a", to: "b" }), { code: "DEVICE_NOT_FOUND" });
  await assert.rejects(pool.rename({ name: "gone", to: "a/b" }), { code: "POOL_NAME_INVALID" });
  await closed();
});

test("rename: a name that the kernel refuses is taken back", async () => {
  await pool.activate({ name: "base" });
  kernel.failNext({ operation: "DM_DEV_RENAME", errno: "EBUSY" });
  await assert.rejects(pool.rename({ name: "base", to: "new" }), PoolError);
  assert.equal(pool.has({ name: "base" }), true);
  assert.deepEqual(await dmNames(), ["dev-base", "pool"]);
  await closed();
});

test("rename: what fails once the kernel has the new name takes that back as well", async () => {
  await pool.activate({ name: "base" });
  const stop = kernel.onCall(({ phase, operation }) => {
    if (phase !== "after" || operation !== "DM_DEV_RENAME") return;
    stop();
    // As the bindings do where a file lies in the place of the new node.
    throw new NativeError({
      code: "NATIVE_EXISTS",
      operation: "making of a device node",
      object: "/dev/mapper",
      reason: "something that is no device is in its place",
      hint: "Move it away.",
    });
  });
  await assert.rejects(pool.rename({ name: "base", to: "new" }), { code: "POOL_MISMATCH" });
  assert.equal(pool.has({ name: "base" }), true);
  assert.deepEqual(await dmNames(), ["dev-base", "pool"]);
  await pool.createDevice({ name: "new", sizeBytes: 16n * MIB });
  assert.equal((await pool.activate({ name: "new" })).outcome, "activated");
  await closed();
});

test("update and list: owner, labels, read-only; filters", async () => {
  await pool.snapshot({ origin: "base", name: "a", ownerUid: 7, labels: { job: "1", kind: "ci" } });
  await pool.snapshot({ origin: "base", name: "b", ownerUid: 7, labels: { kind: "ci" } });
  const names = (filter: Parameters<ThinPool["list"]>[0]): readonly string[] =>
    pool.list(filter).map(({ name }) => name);
  assert.deepEqual(names({ ownerUid: 7 }), ["a", "b"]);
  assert.deepEqual(names({ labels: { kind: "ci", job: "1" } }), ["a"]);
  const { uuid } = pool.get({ name: "a" });
  assert.deepEqual([names({ uuid }), names({ uuid, ownerUid: 8 })], [["a"], []]);
  const changed = await pool.update({ name: "a", ownerUid: 8, labels: { job: null, x: "y" } });
  assert.equal(changed.outcome, "changed");
  assert.deepEqual(changed.device.labels, { kind: "ci", x: "y" });
  const again = await pool.update({ name: "a", ownerUid: 8, labels: { x: "y", job: null } });
  assert.equal(again.outcome, "already-so");
  assert.deepEqual(names({ ownerUid: 8 }), ["a"]);
  for (const labels of [{ "a b": "x" }, { a: "x\n" }, { a: "x".repeat(200) }]) {
    const refused = pool.update({ name: "a", labels });
    await assert.rejects(refused, { code: "POOL_OPTION_INVALID" });
  }
  await pool.update({ name: "b", readOnly: true });
  const { device } = await pool.activate({ name: "b" });
  await assert.rejects(kernel.write(device.path, 0, Buffer.alloc(4096)), { errnoName: "EPERM" });
  await assert.rejects(pool.update({ name: "b", readOnly: false }), { code: "DEVICE_BUSY" });
  await closed();
});

test("pages of the list: what stays is in exactly one, whatever comes and goes in between", async () => {
  for (const name of ["a", "b", "c", "d", "e", "f"]) {
    await pool.snapshot({ origin: "base", name, ownerUid: name < "c" ? 7 : 8 });
  }
  const seen: string[] = [];
  let last: string | undefined;
  for (;;) {
    const { devices, next } = pool.listPage({ after: last, limit: 2 });
    seen.push(...devices.map(({ name }) => name));
    if (next === undefined) break;
    assert.equal(devices.length, 2);
    last = next;
    // What the page ended with goes; what comes is behind it, and before it.
    if (next === "b") await pool.remove({ name: "b" });
    if (next === "b") await pool.snapshot({ origin: "base", name: "az" });
    if (next === "c") await pool.snapshot({ origin: "base", name: "cc" });
  }
  assert.deepEqual(seen, ["a", "b", "base", "c", "cc", "d", "e", "f"]);
  const page = (options: Parameters<ThinPool["listPage"]>[0]): unknown => {
    const { devices, next } = pool.listPage(options);
    return [devices.map(({ name }) => name), next];
  };
  // One who has few is looked up as such; of one who has many, a page looks at `limit` of all devices.
  assert.deepEqual(page({ ownerUid: 7, limit: 1 }), [["a"], undefined]);
  assert.deepEqual(page({ ownerUid: 7, after: "a", limit: 1 }), [[], undefined]);
  assert.deepEqual(page({ ownerUid: 8, limit: 4 }), [["c", "d", "e", "f"], undefined]);
  assert.deepEqual(page({ ownerUid: 8, after: "b", limit: 3 }), [["c"], "cc"]);
  assert.deepEqual(page({ ownerUid: 8, after: "cc", limit: 3 }), [["d", "e", "f"], "f"]);
  assert.deepEqual(page({ ownerUid: 8, after: "f", limit: 3 }), [[], undefined]);
  const { uuid: originUuid } = pool.get({ name: "a" });
  await pool.snapshot({ origin: "a", name: "of-a" });
  assert.deepEqual(page({ originUuid, limit: 100 }), [["of-a"], undefined]);
  assert.deepEqual(page({ uuid: originUuid, after: "a", limit: 100 }), [[], undefined]);
  await closed();
});

test("resize: inactive and active; its filesystem too, or later; never smaller", async () => {
  const grown = await pool.resize({ name: "base", sizeBytes: 20n * MIB });
  assert.deepEqual([grown.outcome, grown.filesystem], ["grown", "grown"]);
  const again = await pool.resize({ name: "base", sizeBytes: 20n * MIB });
  assert.deepEqual([again.outcome, again.filesystem], ["already-so", "none"]);
  const { device } = await pool.activate({ name: "base" });
  await pool.resize({ name: "base", sizeBytes: 24n * MIB });
  assert.equal(await kernel.blocks.sizeBytes(device.path), 24n * MIB);
  const smaller = pool.resize({ name: "base", sizeBytes: 16n * MIB });
  await assert.rejects(smaller, { code: "POOL_OPTION_INVALID" });
  const { device: xfs } = await pool.createDevice({
    name: "x",
    sizeBytes: 320n * MIB,
    filesystem: "xfs",
  });
  const later = await pool.resize({ name: xfs.name, sizeBytes: 400n * MIB });
  assert.deepEqual([later.filesystem, later.device.filesystemSmaller], ["later", true]);
  // A clone has the small filesystem as well.
  const clone = await pool.snapshot({ origin: "x", name: "clone", activate: true });
  assert.equal(clone.device.filesystemSmaller, true);
  const target = await mkdtemp(join(parent, "mnt-"));
  await kernel.mounts.mount({ source: clone.device.path, type: "xfs", target, flags: {} });
  const done = await pool.resize({ name: "clone", sizeBytes: 400n * MIB });
  assert.deepEqual(
    [done.outcome, done.filesystem, done.device.filesystemSmaller],
    ["grown", "grown", false],
  );
  await kernel.mounts.unmount(target);
  await closed();
});

test("revert: of a device that has grown since, all of the old content goes back to the host", async () => {
  await pool.createDevice({ name: "raw", sizeBytes: 4n * MIB, filesystem: "none" });
  await pool.snapshot({ origin: "raw", name: "snap" });
  await pool.resize({ name: "raw", sizeBytes: 8n * MIB });
  const discarded: string[] = [];
  const stop = kernel.onCall(({ phase, operation, detail }) => {
    if (phase === "before" && operation === "BLKDISCARD") discarded.push(detail);
  });
  await pool.revert({ name: "raw", snapshot: "snap" });
  stop();
  assert.deepEqual(discarded, [`0+${8n * MIB}`]);
  assert.equal(pool.get({ name: "raw" }).sizeBytes, 4n * MIB);
  await closed();
});

test("revert: the snapshot's content under the same name and uuid; an active device stays active", async () => {
  const { path } = (await pool.activate({ name: "base" })).device;
  const first = Buffer.alloc(4096, "1");
  await kernel.write(path, MIB, first);
  await pool.snapshot({ origin: "base", name: "snap" });
  await kernel.write(path, MIB, Buffer.alloc(4096, "2"));
  await pool.resize({ name: "base", sizeBytes: 20n * MIB });
  const earlier = pool.get({ name: "base" });
  const release = kernel.hold(path);
  const busy = pool.revert({ name: "base", snapshot: "snap" });
  await assert.rejects(busy, { code: "DEVICE_BUSY" });
  release();
  const result = await pool.revert({ name: "base", snapshot: "snap" });
  assert.deepEqual([result.outcome, result.oldContent], ["reverted", "removed"]);
  const { thinId, sizeBytes } = result.device;
  // The transaction is that of its content.
  const { transactionId } = result.device;
  assert.deepEqual(result.device, { ...earlier, thinId, transactionId, sizeBytes: 16n * MIB });
  assert.ok(transactionId > earlier.transactionId);
  assert.notEqual(thinId, earlier.thinId);
  assert.equal(sizeBytes, 16n * MIB);
  assert.deepEqual(await kernel.read(path, MIB, 4096), first);
  assert.equal(pool.list().length, 2);
  const other = pool.revert({ name: "snap", snapshot: "base" });
  await assert.rejects(other, { code: "POOL_OPTION_INVALID" });
  await closed();
});

test("external origin: reads through, writes to the pool, snapshots too; refused where there is none", async () => {
  kernel.addBlockDevice({ path: "/dev/golden", sizeBytes: 8n * MIB, signature: "ext4" });
  await kernel.write("/dev/golden", 4n * MIB, Buffer.alloc(4096, "g"));
  const externalOrigin = "/dev/golden";
  const { device } = await pool.createDevice({ name: "thin", externalOrigin });
  assert.deepEqual([device.sizeBytes, device.filesystem], [8n * MIB, "ext4"]);
  const { path } = (await pool.activate({ name: "thin" })).device;
  await kernel.write(path, 4n * MIB + 4096n, Buffer.alloc(4096, "w"));
  const clone = await pool.snapshot({ origin: "thin", name: "clone", activate: true });
  for (const at of [path, clone.device.path]) {
    const read = await kernel.read(at, 4n * MIB, 8192);
    assert.equal(read.toString("latin1", 4095, 4097), "gw");
    assert.equal((await kernel.blocks.signature(at))?.type, "ext4");
  }
  const untouched = await kernel.read("/dev/golden", 4n * MIB + 4096n, 4096);
  assert.deepEqual(untouched, Buffer.alloc(4096));
  const missing = pool.createDevice({ name: "no", externalOrigin: "/dev/none" });
  await assert.rejects(missing, { code: "POOL_OPTION_INVALID" });
  await pool.close();
  pool = await openPool({ folder, kernel });
  await pool.activate({ name: "thin" });
  await closed();
});

test("deactivate, deferred: gone at the last close; activated again before that, it stays", async () => {
  const { path } = (await pool.activate({ name: "base" })).device;
  let release = kernel.hold(path);
  await assert.rejects(pool.deactivate({ name: "base" }), { code: "DEVICE_BUSY" });
  assert.equal((await pool.deactivate({ name: "base", deferred: true })).outcome, "deferred");
  assert.equal((await pool.activate({ name: "base" })).outcome, "already-active");
  release();
  assert.deepEqual(await dmNames(), ["dev-base", "pool"]);
  release = kernel.hold(path);
  await pool.deactivate({ name: "base", deferred: true });
  release();
  assert.deepEqual(await dmNames(), ["pool"]);
  const again = await pool.activate({ name: "base" });
  assert.equal(again.outcome, "activated");
  const idle = await pool.deactivate({ name: "base", deferred: true });
  assert.equal(idle.outcome, "deactivated");
  await closed();
});

test("mkfs options are an allow list within bounds", async () => {
  const sizeBytes = 16n * MIB;
  await pool.createDevice({ name: "a", sizeBytes, mkfs: { label: "root", blockBytes: 1024 } });
  const bad = [
    { label: "a b" },
    { label: "x".repeat(17) },
    { bytesPerInode: 1 },
    { blockBytes: 512 },
    { "-E": "x" },
  ];
  for (const mkfs of bad) {
    const refused = pool.createDevice({ name: "b", sizeBytes, mkfs: mkfs as object });
    await assert.rejects(refused, { code: "POOL_OPTION_INVALID" });
  }
  const none = { name: "b", sizeBytes, filesystem: "none", mkfs: { label: "x" } } as const;
  await assert.rejects(pool.createDevice(none), { code: "POOL_OPTION_INVALID" });
  await closed();
});

test("lineage: up to who was made empty or removed, and what was made from it", async () => {
  await pool.snapshot({ origin: "base", name: "a" });
  await pool.snapshot({ origin: "a", name: "b" });
  await pool.snapshot({ origin: "a", name: "c" });
  const of = (name: string): unknown => {
    const { ancestors, removedAncestorUuid, snapshots } = pool.lineage({ name });
    return [
      ancestors.map((one) => one.name),
      removedAncestorUuid,
      snapshots.map((one) => one.name),
    ];
  };
  assert.deepEqual(of("a"), [["base"], undefined, ["b", "c"]]);
  assert.deepEqual(of("b"), [["a", "base"], undefined, []]);
  const { uuid } = pool.get({ name: "a" });
  await pool.remove({ name: "a" });
  assert.deepEqual(of("b"), [[], uuid, []]);
  await closed();
});

test("the plan says what opening then does, changes nothing, and opening writes it down", async () => {
  await pool.snapshot({ origin: "base", name: "live", activate: true });
  assert.equal(kernel.calls["resizefs"], undefined);
  // The process dies with an intent recorded and its message sent, and the origin suspended.
  const stop = kernel.onCall(({ phase, detail }) => {
    if (phase === "after" && detail.startsWith("create_snap")) kernel.die("killed");
  });
  await pool.snapshot({ origin: "live", name: "half" }).catch(() => undefined);
  stop();
  await pool.detach();
  kernel.processDeath();
  for (let look = 0; look < 2; look += 1) {
    const plan = await planRecovery({ folder, kernel });
    assert.deepEqual(
      plan.decisions.map(({ action, object }) => [action, object]),
      [
        ["resume-dm-device", "live"],
        ["undo-creation", "half"],
      ],
    );
    assert.equal(plan.ledgerTransactionId, plan.poolTransactionId + 1n);
    assert.deepEqual(await dmNames(), ["dev-live", "pool"]);
  }
  // Also where nothing is up: the look takes down what it brought up.
  kernel = kernel.powerCut();
  assert.equal((await planRecovery({ folder, kernel })).decisions.length, 1);
  assert.deepEqual(await kernel.leftovers(), []);
  pool = await openPool({ folder, kernel });
  assert.deepEqual(
    pool.recoveryJournal().map(({ number, action, object }) => [number, action, object]),
    [[1, "undo-creation", "half"]],
  );
  await assert.rejects(planRecovery({ folder, kernel }), { code: "POOL_LOCKED" });
  await closed();
  assert.deepEqual((await planRecovery({ folder, kernel })).decisions, []);
});

test("planning that is killed at any of its calls is in the way of no other, nor of opening", async () => {
  await pool.close();
  let isOver = false;
  for (let point = 0; !isOver; point += 1) {
    assert.ok(point < 100);
    let calls = 0;
    const stop = kernel.onCall(({ phase }) => {
      if (phase === "after" && calls++ === point) kernel.die("killed");
    });
    isOver = await planRecovery({ folder, kernel }).then(
      () => true,
      () => false,
    );
    stop();
    kernel.processDeath();
    if (point % 2 === 0) {
      assert.deepEqual((await planRecovery({ folder, kernel })).decisions, []);
    }
    pool = await openPool({ folder, kernel, monitor: false });
    await closed();
  }
});

test("a device of the pool is no external origin in it: it changes", async () => {
  const { device } = await pool.activate({ name: "base" });
  const own = pool.createDevice({ name: "clone", externalOrigin: device.path });
  await assert.rejects(own, { code: "POOL_OPTION_INVALID", reason: /device of this pool/ });
  await closed();
});

test("planning that can't take down what it brought up says so, and opening clears it away", async () => {
  await pool.close();
  kernel.failNext({ operation: "DM_TABLE_LOAD", errno: "EIO" });
  kernel.failNext({ operation: "DM_DEV_REMOVE", errno: "EIO" });
  await assert.rejects(planRecovery({ folder, kernel }), { code: "POOL_DEGRADED" });
  assert.deepEqual(await dmNames(), ["pool"]);
  pool = await openPool({ folder, kernel, monitor: false });
  await closed();
});

test("a live device whose external origin has lost its path keeps no pool shut", async () => {
  const origin = "/dev/golden";
  kernel.addBlockDevice({ path: origin, sizeBytes: 4n * MIB });
  await kernel.write(origin, 0, Buffer.alloc(4096, "x"));
  await pool.createDevice({ name: "clone", externalOrigin: origin });
  const { device } = await pool.activate({ name: "clone" });
  await pool.detach();
  kernel.processDeath();
  const { blocks } = kernel;
  const numberOf = blocks.number.bind(blocks);
  const missing = new NativeError({
    code: "NATIVE_NOT_FOUND",
    operation: "stat",
    object: origin,
    reason: "there is no such device",
    hint: "None.",
  });
  blocks.number = (path) => (path === origin ? Promise.reject(missing) : numberOf(path));
  pool = await openPool({ folder, kernel, monitor: false });
  assert.equal(pool.get({ name: "clone" }).active, true);
  assert.equal((await kernel.read(device.path, 0, 1)).toString(), "x");
  await pool.deactivate({ name: "clone" });
  await assert.rejects(pool.activate({ name: "clone" }), {
    code: "POOL_MISMATCH",
    reason: /no block device/,
  });
  await closed();
});

test("discard: a read-only device keeps what it holds, active or not; one that has gone counts as inactive", async () => {
  await pool.createDevice({ name: "raw", sizeBytes: 4n * MIB, filesystem: "none" });
  const { device } = await pool.activate({ name: "raw" });
  await kernel.write(device.path, 0, Buffer.alloc(4096, "x"));
  await pool.deactivate({ name: "raw" });
  await pool.update({ name: "raw", readOnly: true });
  const byte = async (): Promise<number | undefined> => (await kernel.read(device.path, 0, 1))[0];
  await assert.rejects(pool.discard({ name: "raw" }), { code: "POOL_PERMISSION" });
  await pool.activate({ name: "raw" });
  assert.equal(await byte(), 0x78);
  await assert.rejects(pool.discard({ name: "raw" }), { code: "POOL_PERMISSION" });
  await pool.deactivate({ name: "raw" });
  await pool.update({ name: "raw", readOnly: false });
  await pool.activate({ name: "raw" });
  const release = kernel.hold(device.path);
  assert.equal((await pool.deactivate({ name: "raw", deferred: true })).outcome, "deferred");
  release();
  assert.equal((await pool.discard({ name: "raw" })).outcome, "discarded");
  assert.equal(pool.get({ name: "raw" }).active, false);
  await pool.activate({ name: "raw" });
  assert.equal(await byte(), 0);
  await closed();
});
