/** Operations asked for at the same time share a transaction, and none pays for another's failure. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { NativeError } from "@thinpool/dm-native";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { openPool } from "./open-pool.ts";
import { MAX_QUEUED_OPERATIONS } from "./locks.ts";
import { heldSyncs } from "./store/held-syncs.test.support.ts";
import type { ThinPool } from "./pool.ts";
import { Pool } from "./thin-pool.ts";
import { MAX_GROUP_DEVICES } from "./transactions.ts";

const SIZES = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
const DEVICE_BYTES = 16n << 20n;
let parent: string;
let kernel: SimKernel;
let pool: Pool;

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "thinpool-group-"));
});

after(() => rm(parent, { recursive: true }));

beforeEach(async (t) => {
  kernel = createSimKernel();
  const folder = await mkdtemp(join(parent, "pool-"));
  const made = await createPool({ folder, kernel, backing: SIZES });
  assert.ok(made instanceof Pool, t.name);
  pool = made;
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
});

function snapshots(count: number): Promise<PromiseSettledResult<unknown>[]> {
  return Promise.allSettled(
    Array.from({ length: count }, (_, index) =>
      pool.snapshot({ origin: "base", name: `clone-${index}` }),
    ),
  );
}

/** The same pool without a monitor, whose looks are calls as well. */
async function unwatched(watched: ThinPool): Promise<ThinPool> {
  await watched.detach();
  return openPool({ folder: watched.folder, kernel, monitor: false });
}

async function transactions(body: () => Promise<unknown>): Promise<number> {
  const { transactionId } = await pool.status();
  await body();
  return Number((await pool.status()).transactionId - transactionId);
}

test("a group is one commit and one set_transaction_id, and has a largest size", async () => {
  const commits = pool.commits;
  const count = MAX_GROUP_DEVICES + 10;
  assert.equal(await transactions(() => snapshots(count)), 2);
  assert.equal(pool.commits - commits, 2);
  const ids = new Set(pool.list().map(({ thinId }) => thinId));
  assert.equal(ids.size, count + 1);
  await pool.close();
});

test("what is asked for while a transaction runs is in the next, all of it", async () => {
  let asked: Promise<unknown> | undefined;
  const stop = kernel.onCall(({ phase, detail }) => {
    if (phase === "before" && detail.startsWith("create_thin")) asked ??= snapshots(10);
  });
  const used = await transactions(async () => {
    await pool.createDevice({ name: "a", sizeBytes: DEVICE_BYTES, filesystem: "none" });
    await asked;
  });
  stop();
  assert.equal(used, 2);
  await pool.close();
});

test("a member that fails is taken out, the others count", async () => {
  await pool.snapshot({ origin: "base", name: "taken" });
  const id = pool.get({ name: "taken" }).thinId + 3;
  kernel.failNext({ operation: "DM_TARGET_MSG", match: `create_snap ${id} `, errno: "EIO" });
  let results: readonly PromiseSettledResult<unknown>[] = [];
  const used = await transactions(async () => {
    results = await Promise.allSettled([
      pool.snapshot({ origin: "base", name: "a" }),
      pool.snapshot({ origin: "base", name: "taken" }),
      pool.snapshot({ origin: "base", name: "b" }),
      pool.snapshot({ origin: "base", name: "c" }),
      pool.snapshot({ origin: "base", name: "d" }),
    ]);
  });
  assert.equal(used, 1);
  const codes = results.map((result) =>
    result.status === "fulfilled" ? "made" : (result.reason as { code: string }).code,
  );
  assert.deepEqual(codes, ["made", "DEVICE_EXISTS", "made", "POOL_KERNEL", "made"]);
  assert.deepEqual(
    pool.list().map(({ name }) => name),
    ["a", "b", "base", "d", "taken"],
  );
  await pool.close();
});

test("a uuid that is taken is the failure of who chose it, not of the group", async () => {
  const { uuid } = pool.get({ name: "base" });
  const make = (name: string, chosen?: string): Promise<unknown> =>
    pool.createDevice({ name, sizeBytes: DEVICE_BYTES, filesystem: "none", uuid: chosen });
  const results = await Promise.allSettled([make("a"), make("b", uuid), make("c")]);
  const codes = results.map((result) =>
    result.status === "fulfilled" ? "made" : (result.reason as { code: string }).code,
  );
  assert.deepEqual(codes, ["made", "DEVICE_EXISTS", "made"]);
  assert.deepEqual(
    pool.list().map(({ name }) => name),
    ["a", "base", "c"],
  );
  await pool.close();
});

test("whose uuid was asked for again stays active, and is held still for its snapshot", async () => {
  const { device } = await pool.activate({ name: "base" });
  const make = (name: string, uuid: string): Promise<unknown> =>
    pool.createDevice({ name, sizeBytes: DEVICE_BYTES, filesystem: "none", uuid });
  await assert.rejects(make("b", device.uuid), { code: "DEVICE_EXISTS" });
  const again = pool.snapshot({ origin: "base", name: "c", uuid: device.uuid });
  await assert.rejects(again, { code: "DEVICE_EXISTS" });
  assert.equal(pool.get({ name: "base" }).active, true);
  const suspended = kernel.calls["DM_DEV_SUSPEND"] ?? 0;
  await pool.snapshot({ origin: "base", name: "snap" });
  assert.equal((kernel.calls["DM_DEV_SUSPEND"] ?? 0) - suspended, 1);
  // Two that ask for one that is free: one gets it.
  const chosen = randomUUID();
  const results = await Promise.allSettled([make("d", chosen), make("e", chosen)]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
  assert.equal((await pool.activate({ name: "d" })).device.uuid, chosen);
  // Once it is gone, whoever asked for it may have it made anew.
  await pool.remove({ name: "d" });
  await make("d", chosen);
  await pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("of several snapshots at one instant none stays in the kernel where one of them fails", async () => {
  const first = pool.get({ name: "base" }).thinId + 1;
  const match = `create_snap ${first + 1} `;
  kernel.failNext({ operation: "DM_TARGET_MSG", match, errno: "EIO" });
  const names = ["one", "two"].map((name) => ({ origin: "base", name }));
  await assert.rejects(pool.snapshotMany({ snapshots: names }), { code: "POOL_KERNEL" });
  // Not only at the next opening: what it maps is room that others could have had.
  const { name } =
    (await kernel.dm.listDevices()).find((entry) => entry.name.endsWith("-pool")) ?? {};
  assert.deepEqual([...kernel.checkMetadata(`/dev/mapper/${name}`)], [first - 1]);
  await pool.close();
});

test("the messages of a group that needs nothing in between are one run", async () => {
  const { dm } = kernel;
  const run = dm.run.bind(dm);
  const lengths: number[] = [];
  dm.run = (steps) => {
    lengths.push(steps.length);
    return run(steps);
  };
  // Else what is removed is discarded first, and by then the creation is over.
  await pool.setPolicy({ giveBackRemoved: false });
  await snapshots(10);
  assert.deepEqual(lengths, [11]);
  // A removal and a creation together: delete, create_snap and one set_transaction_id.
  await Promise.all([
    pool.remove({ name: "clone-0" }),
    pool.snapshot({ origin: "base", name: "other" }),
  ]);
  assert.deepEqual(lengths, [11, 3]);
  await pool.close();
});

test("a lone snapshot is activated in its transaction's run; of several none waits for another's", async () => {
  const { dm } = kernel;
  const run = dm.run.bind(dm);
  const runs: string[] = [];
  dm.run = (steps, options) => {
    runs.push(steps.map(({ command }) => command).join(" "));
    return run(steps, options);
  };
  const activated = (name: string): Promise<unknown> =>
    pool.snapshot({ origin: "base", name, activate: true });
  await activated("alone");
  assert.deepEqual(runs, ["message message create load resume"]);
  await Promise.all([activated("a"), activated("b")]);
  assert.deepEqual(runs.slice(1), [
    "message message message",
    "create load resume",
    "create load resume",
  ]);
  assert.ok(pool.list().every(({ name, active }) => active === (name !== "base")));
  await pool.close();
});

test("others' transactions go on while a lone snapshot's device waits for udev", async () => {
  const { dm } = kernel;
  const run = dm.run.bind(dm);
  const udev = Promise.withResolvers<void>();
  dm.run = async (steps, options) => {
    const done = await run(steps, options);
    if (steps.some(({ command }) => command === "resume")) await udev.promise;
    return done;
  };
  const waiting = pool.snapshot({ origin: "base", name: "waiting", activate: true });
  await pool.snapshot({ origin: "base", name: "other" });
  assert.equal(pool.get({ name: "waiting" }).active, false);
  udev.resolve();
  await waiting;
  assert.equal(pool.get({ name: "waiting" }).active, true);
  await pool.close();
});

test("after a commit that failed no other group begins, also where its members wait already", async () => {
  const folder = await mkdtemp(join(parent, "pool-"));
  let fails = false;
  let commits = 0;
  const onCommit = (phase: "before" | "after"): void => {
    commits += 1;
    // It is on the disk, and said not to be.
    if (fails && phase === "after") throw new Error("a fault was injected");
  };
  const other = await createPool({ folder, kernel: createSimKernel(), backing: SIZES, onCommit });
  await other.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  fails = true;
  commits = 0;
  // Two groups' worth, by fewer operations than may be under way at a time.
  const results = await Promise.allSettled(
    Array.from({ length: MAX_GROUP_DEVICES / 2 }, (_, index) =>
      other.snapshotMany({
        snapshots: ["a", "b", "c", "d"].map((name) => ({
          origin: "base",
          name: `${name}-${index}`,
        })),
      }),
    ),
  );
  assert.equal(commits, 2);
  for (const result of results) {
    assert.equal(result.status, "rejected");
    assert.equal((result.reason as { code: string }).code, "POOL_DEGRADED");
  }
  // Closing marks the stop in the ledger.
  fails = false;
  await other.close();
});

test("a group's intents last before the first message, also where no run can be made", async () => {
  using syncs = heldSyncs();
  const { dm } = kernel;
  const run = dm.run.bind(dm);
  const refusal = { operation: "waiting call", object: "a lane", reason: "full", hint: "Wait." };
  for (const refused of [false, true]) {
    dm.run = refused
      ? () => Promise.reject(new NativeError({ ...refusal, code: "NATIVE_REFUSED" }))
      : run;
    kernel.resetCalls();
    const made = pool.snapshot({ origin: "base", name: `refused-${refused}` });
    while (syncs.paths.length <= Number(refused)) await setImmediate();
    assert.equal(kernel.calls["DM_TARGET_MSG"], undefined);
    syncs.release();
    await made;
    assert.equal(kernel.calls["DM_TARGET_MSG"], 2);
  }
  await pool.close();
});

test("a disk that fails a group's sync degrades the pool, and no message is sent", async () => {
  using syncs = heldSyncs();
  kernel.resetCalls();
  const made = pool.snapshot({ origin: "base", name: "one" });
  while (syncs.paths.length === 0) await setImmediate();
  syncs.fail("EIO");
  await assert.rejects(made, { code: "POOL_DEGRADED" });
  await assert.rejects(pool.snapshot({ origin: "base", name: "two" }), { code: "POOL_DEGRADED" });
  assert.equal(kernel.calls["DM_TARGET_MSG"], undefined);
  await pool.close();
});

test("that a device is removed lasts before anything of it goes: alone, together, where no run can be made", async () => {
  const { dm } = kernel;
  const run = dm.run.bind(dm);
  const quiet = await unwatched(pool);
  const refusal = { operation: "waiting call", object: "a lane", reason: "full", hint: "Wait." };
  for (const [names, refuses] of [
    [["a"], false],
    [["b"], true],
    [["c", "d"], false],
  ] as const) {
    for (const name of names) {
      await quiet.snapshot({ origin: "base", name, readOnly: true, activate: true });
    }
    using syncs = heldSyncs();
    // The first is the activation's.
    let left = Number(refuses);
    dm.run = (...args) => {
      left -= 1;
      if (left < 0) return run(...args);
      return Promise.reject(new NativeError({ ...refusal, code: "NATIVE_REFUSED" }));
    };
    kernel.resetCalls();
    const removals = Promise.all(names.map((name) => quiet.remove({ name })));
    while (syncs.paths.length === 0) await setImmediate();
    for (let turn = 0; turn < 10; turn += 1) await setImmediate();
    assert.equal(syncs.paths.length, 1);
    assert.deepEqual({ ...kernel.calls }, { DM_DEV_REMOVE: names.length });
    syncs.release();
    // The deletions'.
    while (syncs.paths.length === 1) await setImmediate();
    assert.equal(kernel.calls["BLKDISCARD"], names.length);
    assert.equal(kernel.calls["DM_DEV_CREATE"], names.length);
    syncs.release();
    await removals;
    assert.deepEqual(
      quiet.list().map(({ name }) => name),
      ["base"],
    );
  }
  dm.run = run;
  await quiet.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a disk that fails a removal's sync degrades the pool, and nothing of the device goes", async () => {
  for (const run of ["refused", "cut", "made"] as const) {
    const folder = await mkdtemp(join(parent, "pool-"));
    const other = await unwatched(await createPool({ folder, kernel, backing: SIZES }));
    await other.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
    await other.activate({ name: "base" });
    const { path } = other.get({ name: "base" });
    await kernel.write(path, 0, Buffer.alloc(4096, "x"));
    using syncs = heldSyncs();
    const { dm } = kernel;
    const original = dm.run.bind(dm);
    const refusal = { operation: "a call", object: "a lane", reason: "full", hint: "Wait." };
    const failure =
      run === "cut"
        ? new Error("the thread ended")
        : new NativeError({ ...refusal, code: "NATIVE_REFUSED" });
    if (run !== "made") {
      dm.run = () => {
        dm.run = original;
        return Promise.reject(failure);
      };
    }
    kernel.resetCalls();
    const removal = assert.rejects(other.remove({ name: "base" }), { code: "POOL_DEGRADED" });
    if (run !== "cut") {
      while (syncs.paths.length === 0) await setImmediate();
      syncs.fail("EIO");
    }
    await removal;
    await assert.rejects(other.snapshot({ origin: "base", name: "two" }), {
      code: "POOL_DEGRADED",
    });
    assert.deepEqual({ ...kernel.calls }, { DM_DEV_REMOVE: 1 });
    await other.close();
  }
});

test("a host that is full when a change begins refuses it, and nothing has happened", async () => {
  const folder = await mkdtemp(join(parent, "pool-"));
  let isFull = false;
  const onCommit = (phase: "before" | "after"): void => {
    if (isFull && phase === "before") {
      throw Object.assign(new Error("database or disk is full"), { errcode: 13 });
    }
  };
  const other = await createPool({ folder, kernel: createSimKernel(), backing: SIZES, onCommit });
  await other.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  isFull = true;
  await assert.rejects(other.snapshot({ origin: "base", name: "one" }), { code: "POOL_NO_SPACE" });
  await assert.rejects(other.remove({ name: "base" }), { code: "POOL_NO_SPACE" });
  isFull = false;
  await other.snapshot({ origin: "base", name: "one" });
  assert.deepEqual(
    other.list().map(({ name }) => name),
    ["base", "one"],
  );
  await other.close();
});

test("an active origin is held once for all its snapshots of a group", async () => {
  await pool.activate({ name: "base" });
  kernel.resetCalls();
  await snapshots(10);
  assert.equal(kernel.calls["DM_DEV_SUSPEND"], 1);
  assert.equal(kernel.calls["DM_DEV_RESUME"], 1);
  await kernel.write(pool.get({ name: "base" }).path, 0, Buffer.alloc(4096, "x"));
  await pool.activate({ name: "clone-9" });
  const read = await kernel.read(pool.get({ name: "clone-9" }).path, 0, 4096);
  assert.deepEqual(read, Buffer.alloc(4096));
  await pool.close();
});

test("snapshots of one moment: every origin is suspended before the first is taken", async () => {
  await pool.snapshot({ origin: "base", name: "log", activate: true });
  await pool.activate({ name: "base" });
  const seen: string[] = [];
  const stop = kernel.onCall(({ phase, operation, detail }) => {
    if (phase === "before") seen.push(detail.split(" ")[0] || operation);
  });
  const { devices, pauseMs } = await pool.snapshotMany({
    snapshots: [
      { origin: "log", name: "log-1", readOnly: true },
      { origin: "base", name: "base-1", labels: { at: "1" } },
    ],
  });
  stop();
  const pair = (what: string): readonly string[] => [what, what];
  assert.deepEqual(seen, [
    ...pair("DM_DEV_SUSPEND"),
    ...pair("create_snap"),
    ...pair("DM_DEV_RESUME"),
    "set_transaction_id",
  ]);
  assert.ok(pauseMs > 0);
  assert.deepEqual(
    devices.map(({ name, readOnly, labels }) => [name, readOnly, labels]),
    [
      ["log-1", true, {}],
      ["base-1", false, { at: "1" }],
    ],
  );
  await assert.rejects(pool.snapshotMany({ snapshots: [] }), { code: "POOL_OPTION_INVALID" });
  await pool.close();
});

test("nobody waits for another's mkfs, and it can be ended", async () => {
  const begun = Promise.withResolvers<void>();
  const stop = new AbortController();
  kernel.filesystems.make = ({ signal }) => {
    begun.resolve();
    return new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  };
  const { signal } = stop;
  const creation = pool.createDevice({ name: "slow", sizeBytes: DEVICE_BYTES, signal });
  await begun.promise;
  await pool.snapshot({ origin: "base", name: "clone", activate: true });
  assert.equal(pool.has({ name: "slow" }), false);
  stop.abort();
  await assert.rejects(creation, { code: "POOL_ABORTED" });
  await pool.createDevice({ name: "slow", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  await pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("who waits for a place among those that run tools can give up as well", async () => {
  let running = 0;
  const all = Promise.withResolvers<void>();
  const stopOthers = new AbortController();
  kernel.filesystems.make = ({ signal }) => {
    running += 1;
    if (running === 4) all.resolve();
    return new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  };
  const create = (name: string, signal: AbortSignal): Promise<unknown> =>
    pool.createDevice({ name, sizeBytes: DEVICE_BYTES, signal });
  const others = ["a", "b", "c", "d"].map((name) => create(name, stopOthers.signal));
  await all.promise;
  const stop = new AbortController();
  const transactionId = (await pool.status()).transactionId;
  const waiting = create("e", stop.signal);
  // It is made, and waits.
  while ((await pool.status()).transactionId === transactionId) await setImmediate();
  stop.abort();
  await assert.rejects(waiting, { code: "POOL_ABORTED" });
  assert.equal(running, 4);
  stopOthers.abort();
  await Promise.allSettled(others);
  await pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a pool that has all that it can do is closed all the same", async () => {
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  kernel.filesystems.make = () => {
    begun.resolve();
    return end.promise;
  };
  const slow = pool.createDevice({ name: "slow", sizeBytes: DEVICE_BYTES });
  await begun.promise;
  const queued = Array.from({ length: MAX_QUEUED_OPERATIONS - 1 }, () =>
    pool.update({ name: "slow", ownerUid: 1 }),
  );
  await assert.rejects(pool.remove({ name: "base" }), { code: "POOL_OVERLOADED" });
  const closed = pool.close();
  end.resolve();
  await Promise.all([slow, ...queued, closed]);
  assert.deepEqual(await kernel.leftovers(), []);
});

test("removals asked for at the same moment are recorded in one commit", async () => {
  await snapshots(10);
  const { folder } = pool;
  await pool.detach();
  let removals = 0;
  const again = await openPool({
    folder,
    kernel,
    monitor: false,
    onCommit: (phase, commit) => {
      if (phase === "before" && commit === "removal") removals += 1;
    },
  });
  const names = again.list().map(({ name }) => name);
  await Promise.all(names.map((name) => again.remove({ name })));
  assert.equal(removals, 1);
  assert.deepEqual(again.list(), []);
  await again.close();
});
