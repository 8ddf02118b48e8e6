/** Whom the events tell what, what an answer waits for, and when the state comes in their place. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import { createSimKernel } from "@thinpool/dm-sim";
import type { MethodResult } from "@thinpool/protocol";
import { MAX_EVENTS_PER_ANSWER } from "@thinpool/protocol";
import type { ThinPool } from "@thinpool/thinpool";
import { MAX_KEPT_EVENTS, createPool, openPool } from "@thinpool/thinpool";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import { jsonLogger } from "../log.ts";
import { Access } from "../policy/access.ts";
import { LivePolicy } from "../policy/live-policy.ts";
import type { Principal } from "../policy/policy.ts";
import { RightsBook } from "../policy/rights-book.ts";
import { RightsStore } from "../policy/rights-store.ts";
import { MAX_EVENT_READERS_PER_UID, MAX_STATES_PER_UID, eventHandlers } from "./events.ts";
import type { HandlerParts } from "./handler.ts";

const folders: string[] = [];
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

const BACKING = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
const EMPTY = { sizeBytes: 4n << 20n, filesystem: "none" } as const;
/** Whoever connects sees public images, and root's devices named img-…. */
const POLICY = {
  version: 1,
  rules: [{ name: "all", users: "all", allow: { clone: { public: true, names: ["img-*"] } } }],
};

const ROOT: Principal = { uid: 0, gid: 0, pid: 1, groups: [] };
const ALICE: Principal = { uid: 1000, gid: 1000, pid: 2, groups: [] };
const BOB: Principal = { uid: 1001, gid: 1001, pid: 3, groups: [] };

type Next = MethodResult<"events.next">;

interface World {
  readonly pool: ThinPool;
  readonly book: RightsBook;
  readonly kernel: SimKernel;
  readonly folder: string;
  readonly stopping: AbortController;
  next(
    who: Principal,
    params: { readonly after?: number; readonly waitMs?: number },
    signal?: AbortSignal,
  ): Promise<Next>;
  list(who: Principal, after?: number): Promise<MethodResult<"events.list">>;
}

async function world(from?: World): Promise<World> {
  const parent = from?.folder ?? (await mkdtemp(join(MEMORY_FOLDER, "thinpool-events-")));
  const kernel = from?.kernel ?? createSimKernel();
  const folder = join(parent, "pool");
  const pool =
    from === undefined
      ? await createPool({ folder, kernel, backing: BACKING, monitor: false })
      : await openPool({ folder, kernel, monitor: false });
  if (from === undefined) folders.push(parent);
  const policyFile = join(parent, "policy.json");
  await writeFile(policyFile, JSON.stringify(POLICY), { mode: 0o600 });
  const live = await LivePolicy.load(
    policyFile,
    undefined,
    jsonLogger(() => undefined),
  );
  const book = new RightsBook(new RightsStore(join(parent, "rights.sqlite")));
  const access = new Access({ pool, live, book, referenceHolder: () => undefined });
  const stopping = new AbortController();
  const parts = {
    pool,
    access,
    book,
    stopping: stopping.signal,
    ephemerals: { has: () => false },
    mounts: { isReleasing: () => false },
  } as unknown as HandlerParts;
  const handlers = eventHandlers(parts);
  const call = (principal: Principal, signal: AbortSignal) => ({
    principal,
    connection: 1,
    signal,
    giveUp: () => assert.fail("its time is not over"),
    newUuid: () => assert.fail("it makes nothing"),
  });
  return {
    pool,
    book,
    kernel,
    folder: parent,
    stopping,
    next: (who, params, signal = new AbortController().signal) =>
      handlers["events.next"]({ waitMs: 0, ...params }, who, call(who, signal)),
    list: (who, number) =>
      handlers["events.list"](
        number === undefined ? {} : { after: number },
        who,
        call(who, new AbortController().signal),
      ),
  };
}

/** "4 device-removed img": number, type, and the name where there is one. */
function told({ events }: Pick<Next, "events">): readonly string[] {
  return events.map((event) => {
    const name = "name" in event ? ` ${event.name}` : "";
    return `${event.number} ${event.type}${name}`;
  });
}

async function end({ pool, book }: World): Promise<void> {
  await pool.close();
  book.close();
}

test("each is told of what is his and of images, by the numbers that all have", async () => {
  const w = await world();
  const { pool } = w;
  await pool.createDevice({ name: "secret", ...EMPTY });
  await pool.createDevice({ name: "img-1", ...EMPTY });
  await pool.createDevice({ name: "alice", ...EMPTY, ownerUid: 1000 });
  await pool.createDevice({ name: "bob", ...EMPTY, ownerUid: 1001 });
  await pool.activate({ name: "alice" });
  await pool.deactivate({ name: "alice" });
  await pool.resize({ name: "alice", sizeBytes: 8n << 20n });
  await pool.remove({ name: "bob" });
  await pool.remove({ name: "secret" });
  const all = await w.next(ROOT, { after: 0 });
  assert.deepEqual(told(all), [
    "1 pool-created",
    "2 device-created secret",
    "3 device-created img-1",
    "4 device-created alice",
    "5 device-created bob",
    "6 device-activated alice",
    "7 device-deactivated alice",
    "8 device-resized alice",
    "9 device-removed bob",
    "10 device-removed secret",
  ]);
  const alice = await w.next(ALICE, { after: 0 });
  assert.deepEqual(told(alice), [
    "1 pool-created",
    "3 device-created img-1",
    "4 device-created alice",
    "6 device-activated alice",
    "7 device-deactivated alice",
    "8 device-resized alice",
  ]);
  const bob = await w.next(BOB, { after: 3 });
  assert.deepEqual(told(bob), ["5 device-created bob", "9 device-removed bob"]);
  // What is not for them is behind them all the same.
  assert.deepEqual([all.last, alice.last, bob.last], [10, 10, 10]);
  assert.deepEqual(await w.next(BOB, { after: 9 }), { events: [], last: 10 });
  await end(w);
});

test("the log has the daemon's starts, and of the rest what the caller may see", async () => {
  let w = await world();
  await w.pool.setPolicy({ giveBackRemoved: false });
  await w.pool.createDevice({ name: "secret", ...EMPTY });
  await end(w);
  w = await world(w);
  await w.pool.createDevice({ name: "img-1", ...EMPTY });
  const seen = (list: Awaited<ReturnType<World["list"]>>): unknown => [told(list), list.last];
  const ofAll = ["1 pool-created", "4 pool-opened", "5 device-created img-1"];
  assert.deepEqual(seen(await w.list(ALICE)), [ofAll, 5]);
  const ofRoot = ["2 policy-changed", "3 device-created secret"];
  assert.deepEqual(seen(await w.list(ROOT)), [ofAll.toSpliced(1, 0, ...ofRoot), 5]);
  await end(w);
});

test("what only administrators are told: reasons, which name the host's files", async () => {
  const w = await world();
  await w.pool.setPolicy({ giveBackRemoved: false });
  assert.deepEqual(told(await w.next(ROOT, { after: 1 })), ["2 policy-changed"]);
  assert.deepEqual(told(await w.next(ALICE, { after: 1 })), []);
  await end(w);
});

test("an image's end is told to whoever saw it, also after a restart; a private one's is not", async () => {
  let w = await world();
  for (const name of ["image", "private"]) {
    const { device } = await w.pool.createDevice({ name, ...EMPTY });
    await w.book.setPublic(device.uuid, name === "image");
    await w.pool.remove({ name });
    w.book.forgetDevice(device.uuid);
    assert.equal(w.book.isPublic(device.uuid), false);
  }
  const wanted = ["2 device-created image", "3 device-removed image"];
  assert.deepEqual(told(await w.next(ALICE, { after: 1 })), wanted);
  await end(w);
  w = await world(w);
  assert.deepEqual(told(await w.next(ALICE, { after: 1 })), wanted);
  await end(w);
});

test("a new name in or out of sight tells no other name", async () => {
  const w = await world();
  await w.pool.createDevice({ name: "img-1", ...EMPTY });
  await w.pool.rename({ name: "img-1", to: "hidden" });
  await w.pool.rename({ name: "hidden", to: "img-2" });
  await w.pool.rename({ name: "img-2", to: "img-3" });
  const { events } = await w.next(ALICE, { after: 2 });
  assert.deepEqual(
    events.map((event) => [event.type, "name" in event && event.name, "from" in event]),
    [
      ["device-removed", "img-1", false],
      ["device-renamed", "img-2", false],
      ["device-renamed", "img-3", true],
    ],
  );
  assert.ok(!JSON.stringify(events).includes("hidden"));
  await end(w);
});

test("an answer waits for something that is the caller's to see", async () => {
  const w = await world();
  const waiting = w.next(ALICE, { after: 1, waitMs: 10_000 });
  await w.pool.createDevice({ name: "bob", ...EMPTY, ownerUid: 1001 });
  await w.pool.createDevice({ name: "alice", ...EMPTY, ownerUid: 1000 });
  assert.deepEqual(told(await waiting), ["3 device-created alice"]);
  // Another's pushes the number on, so that nothing is looked at twice.
  await w.pool.remove({ name: "bob" });
  assert.deepEqual(await w.next(ALICE, { after: 3, waitMs: 20 }), { events: [], last: 4 });
  const gaveUp = new AbortController();
  const given = w.next(ALICE, { after: 4, waitMs: 10_000 }, gaveUp.signal);
  gaveUp.abort(new Error("enough"));
  assert.deepEqual(await given, { events: [], last: 4 });
  const stopped = w.next(ALICE, { after: 4, waitMs: 10_000 });
  w.stopping.abort();
  assert.deepEqual(await stopped, { events: [], last: 4 });
  await end(w);
});

test("the state comes at first, to who is behind, and after a restart", async () => {
  let w = await world();
  await w.pool.createDevice({ name: "alice", ...EMPTY, ownerUid: 1000 });
  await w.pool.createDevice({ name: "bob", ...EMPTY, ownerUid: 1001 });
  const first = await w.next(ALICE, {});
  assert.equal(first.state?.because, "start");
  assert.deepEqual([first.last, first.events, first.state?.pool.deviceCount], [3, [], 2]);
  assert.deepEqual(
    first.state?.devices.map(({ name }) => name),
    ["alice"],
  );
  assert.equal((await w.next(ALICE, { after: 1_000_000 })).state?.because, "behind");
  await w.pool.createDevice({ name: "late", ...EMPTY, ownerUid: 1000 });
  await end(w);
  w = await world(w);
  await w.pool.remove({ name: "late" });
  // What was before the restart comes first, by itself.
  const before = await w.next(ALICE, { after: 3 });
  assert.deepEqual([told(before), before.last], [["4 device-created late"], 4]);
  const restart = await w.next(ALICE, { after: 4 });
  assert.deepEqual([restart.state?.because, restart.last], ["restart", 6]);
  for (let turn = 0; turn < MAX_KEPT_EVENTS / 2 + 200; turn += 1) {
    await w.pool.activate({ name: "alice" });
    await w.pool.deactivate({ name: "alice" });
  }
  await w.pool.createDevice({ name: "last", ...EMPTY, ownerUid: 1000 });
  const behind = await w.next(ALICE, { after: 6 });
  assert.deepEqual([behind.state?.because, behind.last], ["behind", w.pool.lastEventNumber]);
  // A whole log is read in pages: no event is missing and none comes twice.
  const numbers: number[] = [];
  let at = behind.last - 2_000;
  while (at < behind.last) {
    const page = await w.next(ALICE, { after: at });
    assert.ok(page.events.length <= MAX_EVENTS_PER_ANSWER);
    numbers.push(...page.events.map(({ number }) => number));
    at = page.last;
  }
  assert.deepEqual(
    numbers,
    Array.from({ length: 2_000 }, (_, index) => behind.last - 1_999 + index),
  );
  // The log, which says where it begins, in pages as well.
  const log = await w.list(ALICE);
  assert.deepEqual([log.newest, log.last], [behind.last, log.oldest - 1 + MAX_EVENTS_PER_ANSWER]);
  assert.ok(log.oldest > 6 && log.oldest < log.newest - 9_000, `${log.oldest}`);
  assert.equal(log.events[0]?.number, log.oldest);
  assert.deepEqual(await w.list(ALICE, 6), log);
  const lastPage = await w.list(ALICE, log.newest - 1);
  assert.deepEqual(told(lastPage), [`${log.newest} device-created last`]);
  assert.deepEqual((await w.list(ALICE, log.newest)).events, []);
  await assert.rejects(w.list(ALICE, log.newest + 1), { code: "POOL_OPTION_INVALID" });
  const unseen = await w.list(BOB);
  assert.deepEqual([unseen.events, unseen.last], [[], unseen.oldest + 999]);
  // Who sees nothing of them gets on as well, in bounded steps.
  const others = await w.next(BOB, { after: behind.last - 2_000 });
  assert.deepEqual([others.events, others.last], [[], behind.last - 1_000]);
  await end(w);
});

test("of one user's states only a few are put together at once", async (t) => {
  const w = await world();
  const watch = w.pool.watchRenames.bind(w.pool);
  let now = 0;
  let most = 0;
  t.mock.method(w.pool, "watchRenames", () => {
    const renamed = watch();
    now += 1;
    most = Math.max(most, now);
    return {
      uuids: renamed.uuids,
      [Symbol.dispose]: () => {
        now -= 1;
        renamed[Symbol.dispose]();
      },
    };
  });
  const all = Array.from({ length: 8 * MAX_STATES_PER_UID }, () => w.next(ALICE, {}));
  for (const { state } of await Promise.all(all)) assert.equal(state?.because, "start");
  assert.equal(most, MAX_STATES_PER_UID);
  await end(w);
});

test("so many of one user wait, and no more; others are not kept from it", async () => {
  const w = await world();
  const waits = Array.from({ length: MAX_EVENT_READERS_PER_UID }, () =>
    w.next(ALICE, { after: 1, waitMs: 10_000 }),
  );
  await assert.rejects(w.next(ALICE, { after: 1 }), { code: "LIMIT" });
  assert.deepEqual(await w.next(BOB, { after: 1 }), { events: [], last: 1 });
  await w.pool.createDevice({ name: "alice", ...EMPTY, ownerUid: 1000 });
  for (const next of await Promise.all(waits)) {
    assert.deepEqual(told(next), ["2 device-created alice"]);
  }
  assert.equal((await w.next(ALICE, { after: 1 })).last, 2);
  await end(w);
});
