/** What becomes of a call that waits half way, when its client or what it is about goes meanwhile. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { ThinPool } from "@thinpool/thinpool";
import type { Caller, CallerWorker } from "../caller.ts";
import { KeyedQueue } from "../keyed-queue.ts";
import { DEFAULT_LIMITS } from "../policy/access.ts";
import type { Limits } from "../policy/rights.ts";
import { RightsBook } from "../policy/rights-book.ts";
import { RightsStore } from "../policy/rights-store.ts";
import { MAX_RETRY_MS } from "../references/retries.ts";
import { GRACE_MS, World, removeFolders, self } from "../references/world.test.support.ts";
import type { CallContext, HandlerParts, Handlers } from "./index.ts";
import { makeHandlers } from "./index.ts";

after(removeFolders);

const CONNECTION = 1;
const OWN = { ...self(), pid: process.pid, groups: [] };
const ALICE = { uid: 1000, gid: 1000, pid: 2, groups: [] };
const BOB_UID = 1001;
const SMALL = { sizeBytes: 16n << 20n } as const;

interface Served {
  readonly world: World;
  readonly handlers: Handlers;
  readonly queue: KeyedQueue;
  readonly book: RightsBook;
  /** As it is called by the connection. */
  readonly call: (principal: Caller["principal"], worker?: CallerWorker) => CallContext;
  readonly end: () => Promise<void>;
}

async function serve(
  limits: Partial<Limits> = {},
  override: Partial<Pick<ThinPool, "usage" | "createDevice">> = {},
): Promise<Served> {
  const world = await World.begin();
  const { mounts, sessions, ephemerals } = world.references;
  const queue = new KeyedQueue();
  const book = new RightsBook(new RightsStore(join(world.parent, "rights.sqlite")));
  const pool = new Proxy(world.pool, {
    get: (target, key) => {
      const member: unknown = Reflect.get(override, key) ?? Reflect.get(target, key, target);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
  const parts = {
    pool,
    mounts,
    sessions,
    ephemerals,
    book,
    access: {
      limits: () => ({ ...DEFAULT_LIMITS, ...limits }),
      touches: () => true,
      sees: () => true,
    },
    rulesFor: () => world.rules,
    inTurn: (...turn: Parameters<KeyedQueue["run"]>) => queue.run(...turn),
    connectTokenEnded: () => undefined,
    stopping: new AbortController().signal,
  } as unknown as HandlerParts;
  return {
    world,
    queue,
    book,
    handlers: makeHandlers(parts),
    call: (principal, worker) => ({
      principal,
      worker,
      connection: CONNECTION,
      signal: new AbortController().signal,
      giveUp: () => undefined,
      newUuid: () => randomUUID(),
    }),
    end: async () => {
      book.close();
      await world.end();
    },
  };
}

test("what a client whose connection ends meanwhile is given goes with its session", async () => {
  const { world, handlers, call, end } = await serve();
  const { sessions } = world.references;
  sessions.open(OWN.uid, CONNECTION);
  const params = { device: "one", folder: world.place };
  const mounting = handlers["mount.create"](params, OWN, call(OWN));
  sessions.closed(CONNECTION);
  await mounting;
  assert.equal(world.held().length, 1, "its client may come back for it");
  world.clock.advance(GRACE_MS + 1);
  await world.drive();
  assert.deepEqual(world.held(), []);
  await world.check();
  await end();
});

test("so does an ephemeral clone, for which the pool was measured first", async () => {
  const { promise: measured, resolve: goOn } = Promise.withResolvers<undefined>();
  const usage: ThinPool["usage"] = async () => {
    await measured;
    return { atMs: Date.now(), devices: [], orphanBytes: 0n };
  };
  const { world, handlers, call, end } = await serve({ mappedBytes: 1n << 40n }, { usage });
  const { sessions } = world.references;
  sessions.open(ALICE.uid, CONNECTION);
  const params = { origin: "one", name: "gone", ephemeral: true };
  const cloning = handlers["device.clone"](params, ALICE, call(ALICE));
  await setImmediate();
  sessions.closed(CONNECTION);
  goOn(undefined);
  await cloning;
  assert.equal(world.pool.has({ name: "gone" }), true, "its client may come back for it");
  world.clock.advance(GRACE_MS + 1);
  await world.drive();
  assert.equal(world.pool.has({ name: "gone" }), false);
  await world.check();
  await end();
});

/** As the call with a key is handled again: under the same id, by another connection with a session of its own. */
async function repeated<T>(
  { world, handlers, call }: Served,
  run: (handlers: Handlers, call: CallContext) => Promise<T>,
): Promise<{ readonly first: T; readonly second: T }> {
  const id = randomUUID();
  const { sessions } = world.references;
  sessions.open(OWN.uid, CONNECTION);
  const first = await run(handlers, { ...call(OWN), newUuid: () => id });
  sessions.closed(CONNECTION);
  sessions.open(OWN.uid, CONNECTION + 1);
  const connection = CONNECTION + 1;
  const second = await run(handlers, { ...call(OWN), connection, newUuid: () => id });
  world.clock.advance(GRACE_MS);
  await world.drive();
  return { first, second };
}

test("a mount that is asked for again by its key is held by who asked last", async () => {
  for (const params of [
    { device: "one" },
    { device: "one", holder: { type: "session" } },
  ] as const) {
    const served = await serve({ mounts: 1 });
    const { world, end } = served;
    const { first, second } = await repeated(served, (handlers, call) =>
      handlers["mount.create"](params, OWN, call),
    );
    assert.deepEqual(second, first);
    assert.deepEqual(world.held(), [first.reference], "the session that it was made for is over");
    await world.check();
    world.references.sessions.closed(CONNECTION + 1);
    world.clock.advance(GRACE_MS);
    await world.drive();
    assert.deepEqual(world.held(), []);
    await world.check();
    await end();
  }
});

test("of a lease that is asked for again by its key the time counts from then", async () => {
  const served = await serve({ leases: 1 });
  const { world, handlers, call, end } = served;
  const params = { device: "one", holder: { type: "lease", ttlMs: 60_000 } } as const;
  const context = { ...call(OWN), newUuid: () => "the-lease" };
  for (let time = 0; time < 3; time += 1) {
    const { leaseLeftMs } = await handlers["mount.create"](params, OWN, context);
    assert.equal(leaseLeftMs, 60_000);
    world.clock.advance(50_000);
    await world.drive();
    assert.equal(world.held().length, 1);
  }
  world.clock.advance(10_000);
  await world.drive();
  assert.deepEqual(world.held(), []);
  await end();
});

test("an ephemeral clone that is asked for again by its key is held by who asked last", async () => {
  const params = { origin: "one", name: "clone", ephemeral: true } as const;
  const served = await serve();
  const { world, end } = served;
  const { first, second } = await repeated(served, (handlers, call) =>
    handlers["device.clone"](params, OWN, call),
  );
  assert.deepEqual(second, first);
  assert.ok(world.pool.has({ name: "clone" }), "the session that it was made for is over");
  world.references.sessions.closed(CONNECTION + 1);
  world.clock.advance(GRACE_MS);
  await world.drive();
  assert.ok(!world.pool.has({ name: "clone" }));
  await world.check();
  await end();
});

test("an import whose device was removed half way leaves another's of the same name alone", async () => {
  let others: Promise<unknown> = Promise.resolve();
  const made: Served = await serve(
    {},
    {
      createDevice: async (options) => {
        const result = await made.world.pool.createDevice(options);
        // These wait for their turns, before the import's next step.
        const removal = made.queue.run("img", "device.remove", () =>
          made.handlers["device.remove"]({ name: "img" }, OWN, made.call(OWN)),
        );
        const taking = made.queue.run("img", "device.create", () =>
          made.world.pool.createDevice({ ...SMALL, name: "img", ownerUid: BOB_UID }),
        );
        others = Promise.all([removal, taking]);
        return result;
      },
    },
  );
  const worker: CallerWorker = {
    identity: self(),
    transfer: () => assert.fail("there is no device to unpack into"),
  };
  const params = { name: "img", sizeBytes: "16777216", labels: { team: "storage" } };
  const importing = made.handlers["device.import"](params, OWN, made.call(OWN, worker));
  await assert.rejects(importing, { code: "NOT_FOUND" });
  await others;
  const { labels, active, ownerUid } = made.world.pool.get({ name: "img" });
  assert.deepEqual({ labels, active, ownerUid }, { labels: {}, active: false, ownerUid: BOB_UID });
  await made.world.check();
  await made.end();
});

test("a device that is still open after its last mount keeps its name, and is finished by it", async () => {
  const { world, handlers, call, end } = await serve();
  const { mounts } = world.references;
  const { reference } = await world.mount();
  const letGo = world.kernel.hold(world.pool.get({ name: "one" }).path);
  await mounts.release(reference);
  assert.equal(world.pool.get({ name: "one" }).active, true, "somebody else has it open");
  const renaming = handlers["device.rename"]({ name: "one", to: "other" }, OWN, call(OWN));
  await assert.rejects(renaming, { code: "BUSY", message: /still has it open/ });
  letGo();
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  await world.check();
  await handlers["device.rename"]({ name: "one", to: "other" }, OWN, call(OWN));
  await world.check();
  await end();
});

test("a device that the daemon knows no mount of is renamed, active or not", async () => {
  const { world, handlers, call, end } = await serve();
  await world.pool.activate({ name: "two" });
  await handlers["device.rename"]({ name: "two", to: "other" }, OWN, call(OWN));
  assert.equal(world.pool.get({ name: "other" }).active, true);
  await world.pool.deactivate({ name: "other" });
  await world.check();
  await end();
});
