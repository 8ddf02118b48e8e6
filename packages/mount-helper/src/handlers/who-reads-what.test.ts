/** Whose content a device can come to have: never one that its owner may not read, whatever happens meanwhile. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, test } from "node:test";
import type { ThinPool } from "@thinpool/thinpool";
import { PoolError } from "@thinpool/thinpool";
import type { CallerWorker } from "../caller.ts";
import { KeyedQueue } from "../keyed-queue.ts";
import { Access } from "../policy/access.ts";
import type { LivePolicy } from "../policy/live-policy.ts";
import type { Principal } from "../policy/policy.ts";
import type { Rule } from "../policy/rights.ts";
import { EMPTY_RULE } from "../policy/rights.ts";
import { RightsBook } from "../policy/rights-book.ts";
import { RightsStore } from "../policy/rights-store.ts";
import { World, removeFolders, self } from "../references/world.test.support.ts";
import type { CallContext, HandlerParts, Handlers } from "./index.ts";
import { makeHandlers } from "./index.ts";

after(removeFolders);

const ALICE: Principal = { uid: 1000, gid: 1000, pid: 2, groups: [] };
const BOB_UID = 1001;
const SIZE = { sizeBytes: 16n << 20n } as const;
const ALL: Rule = { ...EMPTY_RULE, name: "all", users: "all" };

interface Served {
  readonly world: World;
  readonly handlers: Handlers;
  /** Alice's. */
  readonly call: CallContext;
  readonly end: () => Promise<void>;
}

async function serve(
  rule: Partial<Rule>,
  override: Partial<Pick<ThinPool, "snapshot" | "snapshotMany" | "remove" | "revert">> = {},
): Promise<Served> {
  const world = await World.begin();
  const queue = new KeyedQueue();
  const book = new RightsBook(new RightsStore(join(world.parent, "rights.sqlite")));
  const pool = new Proxy(world.pool, {
    get: (target, key) => {
      const member: unknown = Reflect.get(override, key) ?? Reflect.get(target, key, target);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
  const live = { current: { rules: [{ ...ALL, ...rule }] } } as unknown as LivePolicy;
  const parts = {
    ...world.references,
    pool,
    book,
    access: new Access({ pool, live, book, referenceHolder: () => undefined }),
    rulesFor: () => world.rules,
    inTurn: (...turn: Parameters<KeyedQueue["run"]>) => queue.run(...turn),
    connectTokenEnded: () => undefined,
    stopping: new AbortController().signal,
  } as unknown as HandlerParts;
  const worker: CallerWorker = {
    identity: self(),
    transfer: () => assert.fail("there is nothing to stream"),
  };
  return {
    world,
    handlers: makeHandlers(parts),
    call: {
      principal: ALICE,
      worker,
      connection: 1,
      signal: new AbortController().signal,
      giveUp: () => undefined,
      newUuid: () => randomUUID(),
    },
    end: async () => {
      book.close();
      await world.end();
    },
  };
}

/** While a call of Alice's waits for its locks, her device goes and Bob's gets its name. */
async function swap(pool: ThinPool, name: string): Promise<void> {
  await pool.remove({ name });
  await pool.createDevice({ ...SIZE, name, ownerUid: BOB_UID });
}

const COPYING = {
  "device.clone": ({ handlers, call }: Served) =>
    handlers["device.clone"]({ origin: "mine", name: "copy" }, ALICE, call),
  "device.import": ({ handlers, call }: Served) =>
    handlers["device.import"]({ origin: "mine", name: "copy" }, ALICE, call),
  "device.export": ({ handlers, call }: Served) =>
    handlers["device.export"]({ name: "mine" }, ALICE, call),
  "device.snapshotMany": ({ handlers, call }: Served) =>
    handlers["device.snapshotMany"]({ snapshots: [{ origin: "mine", name: "copy" }] }, ALICE, call),
} as const;

for (const [method, copy] of Object.entries(COPYING)) {
  test(`${method}: a copy of another's device that took the origin's name is not made`, async () => {
    const copies: string[] = [];
    const note = ({ world }: Served): void => {
      const theirs = world.pool.list().filter((each) => each.ownerUid === ALICE.uid);
      copies.push(...theirs.map(({ name }) => name));
    };
    const made: Served = await serve(
      {},
      {
        snapshot: async (options) => {
          await swap(made.world.pool, "mine");
          return made.world.pool.snapshot(options).finally(() => note(made));
        },
        snapshotMany: async (options) => {
          await swap(made.world.pool, "mine");
          return made.world.pool.snapshotMany(options).finally(() => note(made));
        },
        // What is to be taken back stays where that can't be done, and is hers.
        remove: ({ name }) => {
          const about = { operation: "removal", object: name, reason: "the pool is busy" };
          throw new PoolError({ ...about, code: "POOL_OVERLOADED", hint: "Try again later." });
        },
      },
    );
    await made.world.pool.createDevice({ ...SIZE, name: "mine", ownerUid: ALICE.uid });
    await assert.rejects(copy(made), { code: "DEVICE_NOT_FOUND" });
    assert.deepEqual(copies, [], "not for a moment: it could be copied on");
    assert.deepEqual(made.world.pool.list({ ownerUid: ALICE.uid }), []);
    await made.end();
  });
}

async function withBobsCopy(rule: Partial<Rule>): Promise<Served> {
  const made = await serve(rule);
  const { pool } = made.world;
  await pool.createDevice({ ...SIZE, name: "mine", ownerUid: ALICE.uid });
  // By a token of hers; what he writes to it is his.
  await pool.snapshot({ origin: "mine", name: "theirs", ownerUid: BOB_UID });
  return made;
}

test("to see a copy that another made of one's device is not to have its content", async () => {
  const made = await withBobsCopy({ see: "all" });
  const { thinId } = made.world.pool.get({ name: "mine" });
  const reverting = made.handlers["device.revert"](
    { name: "mine", snapshot: "theirs" },
    ALICE,
    made.call,
  );
  await assert.rejects(reverting, { code: "FORBIDDEN" });
  assert.equal(made.world.pool.get({ name: "mine" }).thinId, thinId);
  await made.end();
});

test("who may mount another's copy may revert to it; who may not see it is not told of it", async () => {
  const may = await withBobsCopy({ touch: new Set([BOB_UID]) });
  const params = { name: "mine", snapshot: "theirs" };
  const before = may.world.pool.get({ name: "mine" }).thinId;
  assert.notEqual((await may.handlers["device.revert"](params, ALICE, may.call)).thinId, before);
  await may.end();
  const blind = await withBobsCopy({});
  const reverting = blind.handlers["device.revert"](params, ALICE, blind.call);
  await assert.rejects(reverting, { code: "NOT_FOUND" });
  await blind.end();
});

test("nor is a device reverted to another's that took the snapshot's name", async () => {
  const made: Served = await serve(
    {},
    {
      revert: async (options) => {
        const { pool } = made.world;
        await pool.remove({ name: "then" });
        await pool.rename({ name: "theirs", to: "then" });
        return pool.revert(options);
      },
    },
  );
  const { pool } = made.world;
  await pool.createDevice({ ...SIZE, name: "mine", ownerUid: ALICE.uid });
  await pool.snapshot({ origin: "mine", name: "then" });
  await pool.snapshot({ origin: "mine", name: "theirs", ownerUid: BOB_UID });
  const { thinId } = pool.get({ name: "mine" });
  const params = { name: "mine", snapshot: "then" };
  const reverting = made.handlers["device.revert"](params, ALICE, made.call);
  await assert.rejects(reverting, { code: "DEVICE_NOT_FOUND" });
  assert.equal(pool.get({ name: "mine" }).thinId, thinId);
  await made.end();
});
