import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "../create-pool.ts";
import { PoolError } from "../errors.ts";
import { openPool } from "../open-pool.ts";
import type { ThinPool } from "../pool.ts";
import { Pool } from "../thin-pool.ts";
import type { PoolEvent } from "./event.ts";
import { MAX_KEPT_EVENTS } from "./event-table.ts";

const SIZES = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
const DEVICE = { sizeBytes: 4n << 20n, filesystem: "none" } as const;
const folders: string[] = [];

after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function freshPool(): Promise<{ pool: ThinPool; kernel: SimKernel; folder: string }> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-events-"));
  folders.push(parent);
  const folder = join(parent, "pool");
  const kernel = createSimKernel();
  const pool = await createPool({ folder, kernel, backing: SIZES, monitor: false });
  return { pool, kernel, folder };
}

async function take(
  events: AsyncGenerator<PoolEvent, void, undefined>,
  count: number,
): Promise<readonly PoolEvent[]> {
  const taken: PoolEvent[] = [];
  while (taken.length < count) {
    const next = await events.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}

function types(events: readonly PoolEvent[]): readonly string[] {
  return events.map((event) => `${event.number} ${event.type}`);
}

test("a device's life in order, without gaps, also for who was away", async () => {
  const { pool, kernel, folder } = await freshPool();
  await pool.createDevice({ name: "base", ...DEVICE });
  const live = pool.events({ after: 1 });
  const [created] = await take(live, 1);
  assert.ok(created?.type === "device-created");
  assert.deepEqual(
    [created.number, created.name, created.sizeBytes, created.originUuid],
    [2, "base", DEVICE.sizeBytes, undefined],
  );
  const waiting = take(live, 5);
  await pool.snapshot({ origin: "base", name: "clone", activate: true, ownerUid: 7 });
  await pool.deactivate({ name: "clone" });
  await pool.remove({ name: "clone" });
  await pool.createDevice({ name: "other", ...DEVICE });
  const seen = await waiting;
  assert.deepEqual(types(seen), [
    "3 device-created",
    "4 device-activated",
    "5 device-deactivated",
    "6 device-removed",
    "7 device-created",
  ]);
  const [clone, activated] = seen;
  assert.ok(clone?.type === "device-created" && activated?.type === "device-activated");
  assert.deepEqual([clone.ownerUid, activated.name], [7, "clone"]);
  assert.equal(clone.originUuid, pool.get({ name: "base" }).uuid);
  await pool.activate({ name: "base" });
  await pool.close();
  // What no commit had carried yet is there all the same.
  const again = await openPool({ folder, kernel, monitor: false });
  await again.createDevice({ name: "last", ...DEVICE });
  const rest = await take(again.events({ after: 7 }), 4);
  assert.deepEqual(types(rest), [
    "8 device-activated",
    "9 device-deactivated",
    "10 pool-opened",
    "11 device-created",
  ]);
  assert.equal(again.lastEventNumber, 11);
  await again.close();
});

test("a reader by default begins now, ends with the pool, and can be stopped", async () => {
  const { pool } = await freshPool();
  await pool.createDevice({ name: "base", ...DEVICE });
  const stop = new AbortController();
  const stopped = pool.events({ signal: stop.signal }).next();
  const reader = pool.events();
  const next = reader.next();
  await pool.createDevice({ name: "next", ...DEVICE });
  const { value } = await next;
  assert.ok(value?.type === "device-created" && value.name === "next");
  await stopped;
  const waiting = pool.events({ signal: stop.signal }).next();
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  const last = reader.next();
  await pool.close();
  assert.equal((await last).done, true);
  assert.throws(() => pool.events(), { code: "POOL_CLOSED" });
});

test("a reader that begins after the pool was closed ends", async () => {
  const { pool } = await freshPool();
  const reader = pool.events({ after: 0 });
  await pool.close();
  assert.equal((await reader.next()).done, true);
});

test("an operation that was undone keeps its number and says so", async () => {
  const { pool, kernel } = await freshPool();
  kernel.failNext({ operation: "DM_TARGET_MSG", match: "create_thin", errno: "EIO" });
  await assert.rejects(pool.createDevice({ name: "base", ...DEVICE }), PoolError);
  await pool.createDevice({ name: "base", ...DEVICE });
  kernel.failNext({ operation: "DM_DEV_CREATE", errno: "EIO" });
  kernel.failNext({ operation: "DM_TARGET_MSG", match: "delete", errno: "EIO" });
  await pool.setPolicy({ giveBackRemoved: false });
  await assert.rejects(pool.remove({ name: "base" }), PoolError);
  const events = await take(pool.events({ after: 1 }), 4);
  assert.deepEqual(types(events), ["2 undone", "3 device-created", "4 policy-changed", "5 undone"]);
  const undone = events.filter((event) => event.type === "undone");
  assert.deepEqual(
    undone.map((event) => event.was),
    ["device-created", "device-removed"],
  );
  await pool.close();
});

test("what a crash left half done is undone under its number", async () => {
  const { pool, kernel, folder } = await freshPool();
  kernel.failNext({ operation: "DM_TARGET_MSG", match: "set_transaction_id", errno: "EIO" });
  kernel.failNext({ operation: "DM_TARGET_MSG", match: "delete", errno: "EIO" });
  await assert.rejects(pool.createDevice({ name: "base", ...DEVICE }), { code: "POOL_DEGRADED" });
  // Not settled: no reader sees it.
  assert.equal(pool.lastEventNumber, 1);
  await pool.detach();
  kernel.processDeath();
  const again = await openPool({ folder, kernel, monitor: false });
  const events = await take(again.events({ after: 0 }), 2);
  assert.deepEqual(types(events), ["1 pool-created", "2 undone"]);
  await again.close();
});

test("events cost no commit of their own while there are others", async () => {
  const { pool } = await freshPool();
  assert.ok(pool instanceof Pool);
  await pool.createDevice({ name: "base", ...DEVICE });
  const before = pool.commits;
  await pool.snapshot({ origin: "base", name: "clone", activate: true });
  await pool.deactivate({ name: "clone" });
  await pool.activate({ name: "clone" });
  await pool.remove({ name: "clone" });
  // The snapshot's, and the removal's two.
  assert.equal(pool.commits - before, 3);
  await pool.close();
});

test("without others they are durable after a second", async () => {
  const { pool } = await freshPool();
  assert.ok(pool instanceof Pool);
  await pool.createDevice({ name: "base", ...DEVICE });
  const reader = pool.events();
  const next = reader.next();
  await pool.activate({ name: "base" });
  // Its timer keeps no process alive: this one does.
  const alive = setInterval(() => undefined, 1000);
  const { value } = await next;
  clearInterval(alive);
  assert.equal(value?.type, "device-activated");
  await pool.close();
});

test("only the last ones are kept, and who wants older ones is told", async () => {
  const { pool } = await freshPool();
  assert.ok(pool instanceof Pool);
  await pool.createDevice({ name: "base", ...DEVICE });
  const slow = pool.events({ after: 0 });
  await slow.next();
  for (let turn = 0; turn < MAX_KEPT_EVENTS / 2 + 200; turn += 1) {
    await pool.activate({ name: "base" });
    await pool.deactivate({ name: "base" });
  }
  await pool.createDevice({ name: "late", ...DEVICE });
  await assert.rejects(pool.events({ after: 0 }).next(), { code: "POOL_EVENTS_LOST" });
  await assert.rejects(
    async () => {
      for await (const event of slow) assert.ok(event.number > 1);
    },
    { code: "POOL_EVENTS_LOST" },
  );
  const last = pool.lastEventNumber;
  assert.equal((await take(pool.events({ after: last - MAX_KEPT_EVENTS + 100 }), 1)).length, 1);
  await assert.rejects(pool.events({ after: last + 1 }).next(), { code: "POOL_OPTION_INVALID" });
  await pool.close();
});
