/** The turn of a reference that is not there yet: whoever knows its id beforehand gets none past the others. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import type { KnownRequest } from "@thinpool/protocol";
import { parseResponse } from "@thinpool/protocol";
import type { Caller } from "./caller.ts";
import { Dispatcher } from "./dispatch.ts";
import type { HandlerParts } from "./handlers/index.ts";
import { makeHandlers } from "./handlers/index.ts";
import { callSha256, derivedUuid } from "./idempotency/call-identity.ts";
import { KeyStore } from "./idempotency/key-store.ts";
import { KeyedCalls } from "./idempotency/keyed-calls.ts";
import { recognitionRules } from "./idempotency/rules.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { Access } from "./policy/access.ts";
import type { LivePolicy } from "./policy/live-policy.ts";
import { RightsBook } from "./policy/rights-book.ts";
import { RightsStore } from "./policy/rights-store.ts";
import { EMPTY_RULE } from "./policy/rights.ts";
import { World, removeFolders, self } from "./references/world.test.support.ts";

after(removeFolders);

const UID = self().uid === 0 ? 1000 : self().uid;
const LIVE = {
  current: { rules: [{ ...EMPTY_RULE, name: "all", users: "all", permanentMounts: true }] },
} as unknown as LivePolicy;

function caller(): Caller {
  return {
    principal: { uid: UID, gid: UID, pid: process.pid, groups: [] },
    connection: 1,
    signal: new AbortController().signal,
    giveUp: () => undefined,
  };
}

test("a release by an id that its caller foretells waits for the mount to be made", async () => {
  const world = await World.begin();
  const { pool, references, parent } = world;
  const { mounts } = references;
  await pool.createDevice({ name: "mine", sizeBytes: 16n << 20n, ownerUid: UID });
  const logger = { log: () => undefined };
  const queue = new KeyedQueue();
  const book = new RightsBook(new RightsStore(join(parent, "rights.sqlite")));
  const referenceHolder = (id: string): number | undefined => mounts.holderOf(id);
  const access = new Access({ pool, live: LIVE, book, referenceHolder });
  let creating = 0;
  const early: string[] = [];
  const watched = new Proxy(mounts, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== "function") return member;
      const method = member.bind(target) as (...args: unknown[]) => unknown;
      if (key === "create") {
        return async (...args: unknown[]) => {
          creating += 1;
          try {
            return await method(...args);
          } finally {
            creating -= 1;
          }
        };
      }
      if (key === "release" || key === "renew") {
        return (...args: unknown[]) => {
          if (creating > 0) early.push(key);
          return method(...args);
        };
      }
      return method;
    },
  });
  const parts = {
    ...references,
    mounts: watched,
    pool,
    access,
    book,
    rulesFor: () => world.rules,
    inTurn: (...turn: Parameters<KeyedQueue["run"]>) => queue.run(...turn),
  } as unknown as HandlerParts;
  const keys = new KeyStore(":memory:");
  const dispatcher = new Dispatcher({
    handlers: makeHandlers(parts),
    keyed: new KeyedCalls({
      poolUuid: pool.uuid,
      store: keys,
      recognise: recognitionRules(parts),
      logger,
    }),
    access,
    deviceOfReference: (id) => mounts.deviceOf(id),
    queue,
    logger,
  });
  const ask = async (request: KnownRequest): Promise<string> => {
    const parsed = parseResponse(await dispatcher.answer(request, caller()));
    assert.ok(parsed.ok);
    return "error" in parsed.value ? parsed.value.error.data.code : "done";
  };
  const holder = { type: "permanent" } as const;
  for (let moment = 0; moment < 60; moment += 1) {
    const key = `k${moment}`;
    const params = { device: "mine", holder };
    const create = { id: 1, method: "mount.create", params, key } as const;
    const call = { poolUuid: pool.uuid, uid: UID, key, callSha256: callSha256(create) };
    const reference = derivedUuid(call, 0);
    const creation = ask(create);
    for (let tick = 0; tick < moment; tick += 1) await Promise.resolve();
    const code = await ask({ id: 2, method: "mount.release", params: { reference } });
    assert.ok(code === "NOT_MOUNTED" || code === "done");
    assert.equal(await creation, "done");
    if (code !== "done")
      assert.equal(await ask({ id: 3, method: "mount.release", params: { reference } }), "done");
  }
  assert.deepEqual(early, []);
  await world.drive();
  keys.close();
  book.close();
  await world.end();
});
