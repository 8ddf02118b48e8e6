/** Growth, floors, over-provisioning and what a full pool answers, over the simulated kernel. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "../create-pool.ts";
import type { PoolEvent } from "../events/event.ts";
import { PoolError } from "../errors.ts";
import { openPool } from "../open-pool.ts";
import type { CreatePoolOptions } from "../pool.ts";
import { Pool } from "../thin-pool.ts";
import type { SpacePolicyChange } from "./policy.ts";

const MIB = 1n << 20n;
/** Blocks of 64 KiB: 16 MiB are 256 of them. */
const OPTIONS = {
  backing: { type: "files", dataBytes: 16n * MIB, metadataBytes: 4n * MIB },
  blockSectors: 128n,
  lowWaterBlocks: 32n,
  monitor: false,
} as const;
/** The host's space has no part in these tests but where a test says so. */
const POLICY: SpacePolicyChange = {
  hostReserveBytes: 0n,
  dataFloorBytes: 0n,
  metadataFloorBytes: 0n,
  dataGrowth: { stepBytes: 4n * MIB },
};
const folders: string[] = [];

after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

interface Bench {
  readonly pool: Pool;
  readonly kernel: SimKernel;
  readonly folder: string;
  /** Fills so many MiB of the device, from the start. */
  readonly fill: (mib: number, fromMib?: number) => Promise<void>;
  readonly poolPath: () => Promise<string>;
}

async function bench(options: Partial<CreatePoolOptions> = {}): Promise<Bench> {
  const parent = await mkdtemp("/dev/shm/thinpool-space-");
  folders.push(parent);
  const folder = join(parent, "pool");
  const kernel = createSimKernel();
  const pool = await createPool({ folder, kernel, ...OPTIONS, policy: POLICY, ...options });
  assert.ok(pool instanceof Pool);
  await pool.createDevice({ name: "d", sizeBytes: 64n * MIB, filesystem: "none" });
  const { path } = (await pool.activate({ name: "d" })).device;
  return {
    pool,
    kernel,
    folder,
    fill: async (mib, fromMib = 0) => {
      for (let at = fromMib; at < fromMib + mib; at += 1) {
        await kernel.write(path, BigInt(at) * MIB, Buffer.alloc(Number(MIB), at + 1));
      }
    },
    poolPath: async () => {
      const devices = await kernel.dm.listDevices();
      const entry = devices.find(({ name }) => name.endsWith("-pool"));
      return `/dev/mapper/${entry?.name}`;
    },
  };
}

async function eventsOf(pool: Pool): Promise<readonly PoolEvent[]> {
  // A commit carries what is noted.
  await pool.setPolicy({ hostReserveBytes: pool.policy.hostReserveBytes + 1n });
  const found: PoolEvent[] = [];
  for await (const event of pool.events({ after: 0 })) {
    found.push(event);
    if (event.number === pool.lastEventNumber) break;
  }
  return found;
}

async function typesOf(pool: Pool): Promise<readonly string[]> {
  return (await eventsOf(pool)).map((event) => event.type);
}

test("data grows at the low water by steps, and a pool out of data comes back", async () => {
  const { pool, kernel, folder, fill } = await bench();
  await fill(13);
  await pool.look();
  assert.equal((await pool.status()).dataTotalBytes, 16n * MIB);
  await fill(1, 13);
  await pool.look();
  assert.equal((await pool.status()).dataTotalBytes, 20n * MIB);
  await assert.rejects(fill(20, 14));
  assert.equal((await pool.status()).state, "out-of-data");
  await pool.look();
  const status = await pool.status();
  assert.deepEqual([status.state, status.dataTotalBytes], ["working", 24n * MIB]);
  const events = await eventsOf(pool);
  assert.deepEqual(
    events.filter((event) => event.type === "grown").map((event) => event.dataBytes),
    [20n * MIB, 24n * MIB],
  );
  assert.deepEqual(
    events.filter((event) => event.type === "pool-state").map(({ from, to }) => [from, to]),
    [
      ["working", "out-of-data"],
      ["out-of-data", "working"],
    ],
  );
  await pool.close();
  const again = await openPool({ folder, kernel, monitor: false });
  assert.equal((await again.status()).dataTotalBytes, 24n * MIB);
  await again.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("metadata grows at the kernel's own low water", async () => {
  const { pool, kernel, poolPath } = await bench();
  kernel.fillMetadata(await poolPath(), 700);
  await pool.look();
  const { metadataTotalBytes, state } = await pool.status();
  assert.deepEqual([metadataTotalBytes, state], [8n * MIB, "working"]);
  await pool.close();
});

test("a pool out of metadata comes back by growth; one that needs a check is not grown", async () => {
  const { pool, kernel, poolPath } = await bench();
  await pool.setPolicy({ metadataGrowth: { enabled: false } });
  kernel.fillMetadata(await poolPath(), 920);
  assert.equal((await pool.status()).state, "read-only");
  await assert.rejects(pool.snapshot({ origin: "d", name: "s" }), {
    code: "POOL_NO_SPACE",
    reason: "the pool is out of metadata: all 4194304 bytes are in use",
  });
  // Not even a removal: and then the device is there as before.
  await assert.rejects(pool.remove({ name: "d" }), { code: "POOL_READ_ONLY" });
  assert.equal(pool.has({ name: "d" }), true);
  await pool.setPolicy({ metadataGrowth: { enabled: true } });
  await pool.look();
  assert.equal((await pool.status()).metadataTotalBytes, 8n * MIB);
  kernel.setPoolMode(await poolPath(), "read-only", { needsCheck: true });
  await pool.look();
  assert.equal((await pool.status()).metadataTotalBytes, 8n * MIB);
  await assert.rejects(pool.extend({ dataBytes: 32n * MIB }), { code: "POOL_NEEDS_CHECK" });
  await pool.detach();
});

test("the ceiling and the host's reserve end growth, and the status says what does", async () => {
  const { pool, fill } = await bench({
    policy: { ...POLICY, dataGrowth: { stepBytes: 4n * MIB, ceilingBytes: 18n * MIB } },
  });
  await fill(15);
  await pool.look();
  await pool.look();
  const status = await pool.status();
  assert.equal(status.dataTotalBytes, 18n * MIB);
  assert.match(status.space.data?.growthLimitReason ?? "", /ceiling is 18874368/);
  await fill(2, 15);
  await pool.look();
  await pool.look();
  await pool.setPolicy({ dataGrowth: { ceilingBytes: undefined }, hostReserveBytes: 1n << 50n });
  await pool.look();
  const reserved = await pool.status();
  assert.equal(reserved.dataTotalBytes, 18n * MIB);
  assert.match(reserved.space.data?.growthLimitReason ?? "", /reserved/);
  const types = await typesOf(pool);
  // Once, not once a look.
  assert.equal(types.filter((type) => type === "exhausted").length, 1);
  await pool.setPolicy({ hostReserveBytes: 0n });
  await pool.look();
  assert.equal((await pool.status()).dataTotalBytes, 22n * MIB);
  await pool.close();
});

test("error_when_exhausted: fails only when nothing more can be had, and waits again after", async () => {
  const { pool, kernel, folder, fill } = await bench({
    policy: { ...POLICY, dataGrowth: { enabled: false }, onNoSpace: "error_when_exhausted" },
  });
  assert.equal((await pool.status()).onNoSpace, "queue_if_no_space");
  await fill(15);
  await pool.look();
  assert.equal((await pool.status()).onNoSpace, "error_if_no_space");
  // A crash with the other table live: opening takes it over.
  await pool.detach();
  kernel.processDeath();
  const again = await openPool({ folder, kernel, monitor: false });
  assert.equal((await again.status()).onNoSpace, "queue_if_no_space");
  assert.ok(again instanceof Pool);
  await again.look();
  assert.equal((await again.status()).onNoSpace, "error_if_no_space");
  await again.extend({ dataBytes: 32n * MIB });
  await again.look();
  assert.equal((await again.status()).onNoSpace, "queue_if_no_space");
  assert.equal((await again.setPolicy({ onNoSpace: "error_if_no_space" })).outcome, "changed");
  assert.equal((await again.status()).onNoSpace, "error_if_no_space");
  await again.close();
  const answers = await openPool({ folder, kernel, monitor: false });
  assert.equal((await answers.status()).onNoSpace, "error_if_no_space");
  await answers.close();
});

test("creating is refused below the floors, with the numbers, and growth is tried first", async () => {
  const { pool, kernel, fill, poolPath } = await bench({
    policy: {
      ...POLICY,
      dataGrowth: { enabled: false, stepBytes: 4n * MIB },
      metadataGrowth: { enabled: false },
    },
  });
  const create = (name: string): Promise<unknown> =>
    pool.createDevice({ name, sizeBytes: 4n * MIB, filesystem: "none" });
  await fill(14);
  await create("a");
  await pool.setPolicy({ dataFloorBytes: 3n * MIB });
  await assert.rejects(create("b"), {
    code: "POOL_NO_SPACE",
    reason: "2097152 bytes of data are free, fewer than the floor of 3145728",
  });
  await assert.rejects(pool.snapshot({ origin: "a", name: "b" }), { code: "POOL_NO_SPACE" });
  await pool.setPolicy({ dataGrowth: { enabled: true } });
  await create("b");
  assert.equal((await pool.status()).dataTotalBytes, 20n * MIB);
  kernel.fillMetadata(await poolPath(), 800);
  await pool.setPolicy({ metadataFloorBytes: MIB });
  await assert.rejects(create("c"), {
    code: "POOL_NO_SPACE",
    reason: /bytes of metadata are free/,
  });
  // Removal is never refused.
  await pool.remove({ name: "a" });
  await pool.close();
});

test("over-provisioning: what is asked for at one moment stays below it together", async () => {
  const { pool } = await bench();
  // 64 MiB are promised, 80 allowed.
  await pool.setPolicy({ overProvisioning: { mode: "ratio", ratio: 5 } });
  const outcomesOf = async (asked: readonly Promise<unknown>[]): Promise<readonly string[]> =>
    (await Promise.allSettled(asked)).map((result) =>
      result.status === "fulfilled" ? "made" : (result.reason as { code: string }).code,
    );
  const create = (name: string): Promise<unknown> =>
    pool.createDevice({ name, sizeBytes: 4n * MIB, filesystem: "none" });
  assert.deepEqual(await outcomesOf(["a", "b", "c", "e", "f"].map(create)), [
    "made",
    "made",
    "made",
    "made",
    "POOL_NO_SPACE",
  ]);
  await pool.remove({ name: "a" });
  // Four more are left.
  const grow = (name: string): Promise<unknown> => pool.resize({ name, sizeBytes: 7n * MIB });
  assert.deepEqual(await outcomesOf(["b", "c"].map(grow)), ["made", "POOL_NO_SPACE"]);
  const promised = pool.list().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
  assert.equal(promised, 79n * MIB);
  await pool.close();
});

test("over-provisioning: a revert promises what the snapshot has more, and not all of it", async () => {
  const { pool } = await bench();
  await pool.snapshot({ origin: "d", name: "snap" });
  await pool.setPolicy({ overProvisioning: { mode: "ratio", ratio: 10 } });
  // 128 of 160 MiB: there is no room for a third of them, and none is asked for.
  await pool.revert({ name: "d", snapshot: "snap" });
  await pool.resize({ name: "snap", sizeBytes: 90n * MIB });
  await assert.rejects(pool.revert({ name: "d", snapshot: "snap" }), {
    code: "POOL_NO_SPACE",
    operation: "revert",
    reason: /would promise/,
  });
  assert.equal(pool.get({ name: "d" }).sizeBytes, 64n * MIB);
  await pool.close();
});

test("over-provisioning: allowed, up to a ratio, forbidden", async () => {
  const { pool, kernel, folder } = await bench();
  // Promised so far: 64 MiB by "d".
  const create = (name: string, mib: bigint): Promise<unknown> =>
    pool.createDevice({ name, sizeBytes: mib * MIB, filesystem: "none" });
  await create("a", 100n);
  await pool.setPolicy({ overProvisioning: { mode: "ratio", ratio: 11 } });
  await assert.rejects(create("b", 16n), {
    code: "POOL_NO_SPACE",
    reason: "the devices would promise 188743680 bytes, the policy allows 184549376",
  });
  await create("b", 12n);
  await assert.rejects(pool.snapshot({ origin: "b", name: "c" }), { code: "POOL_NO_SPACE" });
  await assert.rejects(pool.resize({ name: "b", sizeBytes: 16n * MIB }), { code: "POOL_NO_SPACE" });
  await pool.setPolicy({ overProvisioning: { mode: "forbid" } });
  // It promises nothing more: this is how a filesystem's growth goes on.
  assert.equal((await pool.resize({ name: "b", sizeBytes: 12n * MIB })).outcome, "already-so");
  await pool.setPolicy({ overProvisioning: { mode: "ratio", ratio: 11 } });
  await pool.remove({ name: "b" });
  await create("b", 12n);
  await pool.setPolicy({ overProvisioning: { mode: "forbid" } });
  await assert.rejects(create("c", 1n), { code: "POOL_NO_SPACE" });
  await pool.remove({ name: "a" });
  await pool.remove({ name: "b" });
  await pool.close();
  const again = await openPool({ folder, kernel, monitor: false });
  assert.deepEqual(again.policy.overProvisioning, { mode: "forbid" });
  await again.remove({ name: "d" });
  await again.createDevice({ name: "whole", sizeBytes: 16n * MIB, filesystem: "none" });
  await again.close();
});

test("a policy that makes no sense is refused, one that is so already says so", async () => {
  const { pool } = await bench();
  const invalid = { code: "POOL_OPTION_INVALID" };
  const bad: readonly SpacePolicyChange[] = [
    { dataGrowth: { stepBytes: 0n } },
    { metadataGrowth: { ceilingBytes: -1n } },
    { hostReserveBytes: -1n },
    { overProvisioning: { mode: "ratio", ratio: 0.5 } },
    { overProvisioning: { mode: "ratio", ratio: Number.NaN } },
    { onNoSpace: "perhaps" as "queue_if_no_space" },
  ];
  for (const change of bad) await assert.rejects(pool.setPolicy(change), invalid);
  assert.equal((await pool.setPolicy({})).outcome, "already-so");
  await assert.rejects(pool.extend(), invalid);
  await assert.rejects(pool.extend({ dataBytes: 8n * MIB }), invalid);
  await assert.rejects(pool.extend({ dataBytes: 32n * MIB + 1n }), invalid);
  await pool.close();
});

test("a removed device's blocks go back to the host; without the policy they stay", async () => {
  const { pool, kernel, fill } = await bench();
  await fill(4);
  kernel.resetCalls();
  await pool.remove({ name: "d" });
  assert.equal(kernel.calls["BLKDISCARD"], 1);
  await pool.setPolicy({ giveBackRemoved: false });
  await pool.createDevice({ name: "e", sizeBytes: 4n * MIB, filesystem: "none" });
  kernel.resetCalls();
  await pool.remove({ name: "e" });
  assert.deepEqual({ ...kernel.calls }, { DM_TARGET_MSG: 2 });
  await pool.close();
});

test("a read-only device is given back as well", async () => {
  const { pool, kernel } = await bench();
  await pool.snapshot({ origin: "d", name: "s", readOnly: true, activate: true });
  kernel.resetCalls();
  await pool.remove({ name: "s" });
  assert.equal(kernel.calls["BLKDISCARD"], 1);
  assert.equal((await typesOf(pool)).includes("not-given-back"), false);
  await pool.close();
});

test("a discard that fails does not keep the device, and is told", async () => {
  const { pool, kernel } = await bench();
  kernel.failNext({ operation: "BLKDISCARD", errno: "EIO" });
  assert.equal((await pool.remove({ name: "d" })).outcome, "removed");
  const told = (await eventsOf(pool)).find((event) => event.type === "not-given-back");
  assert.match(told?.reason ?? "", /injected/);
  await pool.close();
});

test("growth that fails is told once and tried again later, not at once", async () => {
  const { pool, kernel, fill } = await bench();
  await fill(15);
  kernel.failNext({ operation: "LOOP_SET_CAPACITY", errno: "EIO", times: 99 });
  for (let look = 0; look < 5; look += 1) await pool.look();
  assert.equal(kernel.calls["LOOP_SET_CAPACITY"], 1);
  const types = await typesOf(pool);
  assert.equal(types.filter((type) => type === "growth-failed").length, 1);
  await pool.close();
});

test("a growth that failed half-way is ended also where no other may begin", async (t) => {
  const { pool, kernel, fill } = await bench();
  await fill(15);
  kernel.failNext({ operation: "LOOP_SET_CAPACITY", errno: "EIO" });
  await pool.look();
  // The file is longer; nothing more of the host's is wanted for it.
  await pool.setPolicy({ dataGrowth: { enabled: false } });
  const now = performance.now();
  t.mock.method(performance, "now", () => now + 3_600_000);
  await pool.look();
  assert.equal((await pool.status()).dataTotalBytes, 20n * MIB);
  await pool.close();
});

for (const [verb, moment] of [
  ["close", "DM_DEV_REMOVE"],
  ["detach", "release_metadata_snap"],
] as const) {
  test(`${verb}: a growth that is asked for meanwhile does not outlive it`, async () => {
    const { pool, kernel, folder } = await bench();
    let ending: Promise<void> | undefined;
    let extended: Promise<unknown> | undefined;
    const stop = kernel.onCall(({ phase, operation, detail }) => {
      if (phase === "before" && operation === "thin_ls") ending = pool[verb]();
      if (phase !== "after" || ![operation, detail].includes(moment)) return;
      extended ??= pool.extend({ dataBytes: 32n * MIB });
      extended.catch(() => undefined);
    });
    // Whose end `detach` waits for.
    await pool.usage().catch(() => undefined);
    await ending;
    stop();
    kernel.resetCalls();
    assert.ok(extended !== undefined);
    await assert.rejects(extended, { code: "POOL_CLOSED" });
    // The folder may be another's by now.
    assert.deepEqual(kernel.calls, {});
    assert.throws(() => pool.list(), { code: "POOL_CLOSED" });
    const again = await openPool({ folder, kernel, monitor: false });
    assert.equal((await again.status()).dataTotalBytes, 16n * MIB);
    await again.close();
  });
}

test("the monitor wakes by the kernel's event, long before its interval", async () => {
  const { pool, fill } = await bench({ monitor: { pollIntervalMs: 3_600_000 } });
  await sleep(100);
  await fill(15);
  const deadline = Date.now() + 5_000;
  while ((await pool.status()).dataTotalBytes < 20n * MIB && Date.now() < deadline) await sleep(10);
  assert.equal((await pool.status()).dataTotalBytes, 20n * MIB);
  assert.equal((await pool.status()).space.monitored, true);
  await pool.close();
});

test("without events the monitor polls", async () => {
  const { pool, kernel, fill } = await bench({ monitor: { pollIntervalMs: 100 } });
  kernel.failNext({ operation: "DM_DEV_ARM_POLL", errno: "EINVAL", times: 1_000_000 });
  await sleep(300);
  await fill(15);
  const deadline = Date.now() + 5_000;
  while ((await pool.status()).dataTotalBytes < 20n * MIB && Date.now() < deadline) await sleep(10);
  assert.equal((await pool.status()).dataTotalBytes, 20n * MIB);
  await pool.close();
});

test("a pool on block devices uses what an admin made longer, by itself where the policy says so", async () => {
  const parent = await mkdtemp("/dev/shm/thinpool-space-");
  folders.push(parent);
  const folder = join(parent, "pool");
  let kernel = createSimKernel();
  kernel.addBlockDevice({ path: "/dev/sda", sizeBytes: 16n * MIB });
  kernel.addBlockDevice({ path: "/dev/sdb", sizeBytes: 4n * MIB });
  const backing = { type: "block", dataPath: "/dev/sda", metadataPath: "/dev/sdb" } as const;
  const pool = await createPool({ ...OPTIONS, folder, kernel, backing });
  assert.equal(pool.policy.dataGrowth.enabled, false);
  assert.equal((await pool.extend()).outcome, "already-so");
  await assert.rejects(pool.extend({ dataBytes: 32n * MIB }), {
    code: "POOL_OPTION_INVALID",
    reason: "the device has 16777216 bytes, not 33554432",
  });
  kernel.failNext({ operation: "BLKGETSIZE64", errno: "EIO" });
  await assert.rejects(pool.extend(), PoolError);
  kernel.growBlockDevice("/dev/sda", 32n * MIB);
  kernel.growBlockDevice("/dev/sdb", 8n * MIB);
  assert.deepEqual(await pool.extend(), {
    outcome: "extended",
    dataBytes: 32n * MIB,
    metadataBytes: 8n * MIB,
  });
  await pool.setPolicy({ dataGrowth: { enabled: true, stepBytes: MIB } });
  await pool.createDevice({ name: "d", sizeBytes: 64n * MIB, filesystem: "none" });
  const { path } = (await pool.activate({ name: "d" })).device;
  for (let at = 0n; at < 31n; at += 1n)
    await kernel.write(path, at * MIB, Buffer.alloc(1 << 20, "a"));
  kernel.growBlockDevice("/dev/sda", 40n * MIB);
  assert.ok(pool instanceof Pool);
  await pool.look();
  assert.equal((await pool.status()).dataTotalBytes, 34n * MIB);
  await pool.detach();
  kernel = kernel.powerCut();
  const again = await openPool({ folder, kernel, monitor: false });
  assert.equal((await again.status()).dataTotalBytes, 34n * MIB);
  await again.close();
});

test("growth goes on beside creations, clones and removals", async () => {
  const { pool, fill } = await bench();
  await fill(15);
  const names = Array.from({ length: 12 }, (_, index) => `clone-${index}`);
  await Promise.all([
    pool.look(),
    pool.extend({ metadataBytes: 8n * MIB }),
    ...names.map((name) => pool.snapshot({ origin: "d", name, activate: true })),
    pool.extend({ dataBytes: 40n * MIB }),
  ]);
  await Promise.all([
    ...names.map((name) => pool.remove({ name })),
    pool.extend({ dataBytes: 48n * MIB }),
  ]);
  const status = await pool.status();
  assert.deepEqual(
    [status.dataTotalBytes, status.metadataTotalBytes, status.deviceCount],
    [48n * MIB, 8n * MIB, 1],
  );
  await pool.close();
});
