import assert from "node:assert/strict";
import { test } from "node:test";
import type { KnownRequest } from "@thinpool/protocol";
import { RequestError, WithdrawnError } from "../errors.ts";
import { callSha256, derivedUuid } from "./call-identity.ts";
import { KeyStore } from "./key-store.ts";
import type { KeyedWork, Recognise } from "./keyed-calls.ts";
import { KeyedCalls } from "./keyed-calls.ts";

const POOL = "0b6f8a52-9f4e-4c56-8a37-3f1f7a3f9f10";

function clone(name: string): KnownRequest & { readonly key: string } {
  return { id: 1, method: "device.clone", params: { origin: "base", name }, key: "k" };
}

/** Calls whose effects are the uuids in a set. */
function world(): { readonly made: Set<string>; readonly store: KeyStore; keyed: KeyedCalls } {
  const made = new Set<string>();
  const store = new KeyStore(":memory:");
  const rule: Recognise = {
    how: "made",
    find: (_request, uuid) => (made.has(uuid(0)) ? uuid(0) : undefined),
  };
  const logger = { log: () => undefined };
  const keyed = new KeyedCalls({ poolUuid: POOL, store, recognise: () => rule, logger });
  return { made, store, keyed };
}

test("the same call joins the one that runs, and is told what an earlier one did", async () => {
  const { keyed, made } = world();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  let runs = 0;
  const work = async ({ newUuid }: KeyedWork): Promise<string> => {
    runs += 1;
    await promise;
    const uuid = newUuid();
    made.add(uuid);
    return uuid;
  };
  const first = keyed.run(clone("one"), 1000, work);
  const second = keyed.run(clone("one"), 1000, work);
  const others = keyed.run(clone("one"), 1001, work);
  resolve(undefined);
  assert.equal(await first, await second);
  assert.notEqual(await first, await others, "another user's key is another key");
  assert.equal(await keyed.run(clone("one"), 1000, work), await first);
  assert.equal(runs, 2);
});

test("what is held is handled again for whoever asks, and has another uuid once it has ended", async () => {
  const store = new KeyStore(":memory:");
  const held = new Set<string>();
  const rule: Recognise = {
    how: "held",
    uuidOf: ({ reference }: { readonly reference: string }) => reference,
    isThere: (uuid) => held.has(uuid),
  };
  const logger = { log: () => undefined };
  const open = (keys: KeyStore): KeyedCalls =>
    new KeyedCalls({ poolUuid: POOL, store: keys, recognise: () => rule, logger });
  let runs = 0;
  const work = async (context: KeyedWork): Promise<{ readonly reference: string }> => {
    runs += 1;
    await Promise.resolve();
    const reference = context.newUuid();
    held.add(reference);
    context.made({ reference });
    return { reference };
  };
  const keyed = open(store);
  const [first, joined] = await Promise.all([
    keyed.run(clone("one"), 1, work),
    keyed.run(clone("one"), 1, work),
  ]);
  assert.deepEqual([joined, runs], [first, 2], "it is the joiner's to hold, too");
  const generations = [first];
  for (let time = 1; time < 3; time += 1) {
    held.clear();
    const anew = await keyed.run(clone("one"), 1, work);
    assert.deepEqual(await keyed.run(clone("one"), 1, work), anew);
    generations.push(anew);
  }
  assert.equal(new Set(generations.map((each) => JSON.stringify(each))).size, 3);
  await assert.rejects(keyed.run(clone("two"), 1, work), { code: "KEY_REUSED" });
  // A death took the record along.
  assert.deepEqual(held.size, 1);
  const lost = new KeyStore(":memory:");
  held.clear();
  const again = await open(lost).run(clone("one"), 1, work);
  assert.deepEqual(again, first);
  assert.deepEqual(await open(new KeyStore(":memory:")).run(clone("one"), 1, work), again);
  assert.equal(held.size, 1);
});

test("a key stands for one call: with other parameters it is refused, while it runs and after", async () => {
  const { keyed } = world();
  const { promise, resolve } = Promise.withResolvers<string>();
  const isReused = (error: unknown): boolean =>
    error instanceof RequestError && error.code === "KEY_REUSED";
  const first = keyed.run(clone("one"), 1000, async (work) => {
    work.made(await promise);
    return promise;
  });
  const other = (): Promise<unknown> => keyed.run(clone("two"), 1000, () => promise);
  await assert.rejects(other(), isReused);
  resolve("done");
  await first;
  await assert.rejects(other(), isReused);
});

test("what failed may be tried again with its key", async () => {
  const { keyed } = world();
  await assert.rejects(
    keyed.run(clone("one"), 1, () => Promise.reject(new Error("full"))),
    /full/,
  );
  assert.equal(await keyed.run(clone("one"), 1, () => Promise.resolve("done")), "done");
});

test("who joins a call that was withdrawn runs it himself", async () => {
  const { keyed } = world();
  const { promise, reject } = Promise.withResolvers<string>();
  const given = keyed.run(clone("one"), 1, () => promise);
  const joined = keyed.run(clone("one"), 1, () => Promise.resolve("done"));
  const [operation, object] = ["device.clone", "base"];
  reject(new WithdrawnError({ code: "CANCELLED", operation, object, reason: "given up" }));
  await assert.rejects(given);
  assert.equal(await joined, "done");
});

test("what a crash left is found by its uuid, though no record says so", async () => {
  const { keyed, made } = world();
  const call = { poolUuid: POOL, uid: 1, key: "k", callSha256: callSha256(clone("one")) };
  made.add(derivedUuid(call, 0));
  const found = await keyed.run(clone("one"), 1, () => Promise.reject(new Error("done twice")));
  assert.equal(found, derivedUuid(call, 0));
});

test("what is taken away is written down as it is when the handler begins", async () => {
  const store = new KeyStore(":memory:");
  const call = { id: 1, method: "device.remove", params: { name: "one" }, key: "k" } as const;
  const logger = { log: () => undefined };
  let device = "first";
  let looks = 0;
  const rule: Recognise = {
    how: "compared",
    before: () => {
      looks += 1;
      if (device === "gone") throw new Error("no such device");
      return device;
    },
    find: () => undefined,
  };
  const keyed = new KeyedCalls({ poolUuid: POOL, store, recognise: () => rule, logger });
  const written = (): unknown => {
    const record = store.find(1, "k");
    return record?.state === "begun" ? JSON.parse(record.evidence) : undefined;
  };
  const evidence = (before: string): unknown => ({ method: "device.remove", before });
  const changing = (to: string) => async (work: KeyedWork) => {
    const beginning = work.begin();
    assert.ok(beginning !== undefined, "its commit is waited for");
    device = to;
    await beginning;
    assert.deepEqual(written(), evidence("first"));
    assert.equal(work.begin(), undefined);
    assert.deepEqual(written(), evidence(device));
    throw new Error("refused");
  };
  // Nothing has changed; another device has its name; it is gone.
  // That the key is free again is waited for by whoever comes next.
  const refused = async (to: string, reason: RegExp): Promise<void> => {
    device = "first";
    await assert.rejects(keyed.run(call, 1, changing(to)), reason);
    await store.settled();
  };
  await refused("first", /refused/);
  assert.equal(looks, 2);
  await refused("first", /refused/);
  await refused("second", /refused/);
  await refused("gone", /no such device/);
  assert.equal(store.find(1, "k"), undefined, "the key is free");
});

test("what takes away waits until it is on disk what was made", async () => {
  const { keyed, store, made } = world();
  await keyed.run(clone("one"), 1, (work) => {
    const uuid = work.newUuid();
    made.add(uuid);
    work.made(uuid);
    return Promise.resolve(uuid);
  });
  assert.notEqual(store.settled(), undefined, "its caller did not wait for the record");
  const rule: Recognise = { how: "compared", before: () => "it is there", find: () => undefined };
  const logger = { log: () => undefined };
  const removing = new KeyedCalls({ poolUuid: POOL, store, recognise: () => rule, logger });
  await removing.run({ ...clone("one"), key: "removal" }, 1, async ({ begin }) => {
    await begin();
    assert.equal(store.settled(), undefined);
    assert.deepEqual(store.begun(), [], "and its own record comes after");
    // What others make meanwhile is not waited for: there may always be some.
    const other = { uid: 2, key: "other", callSha256: "0".repeat(64) };
    store.doneSoon(other, "{}", (error) => assert.fail(String(error)));
    await begin();
    assert.equal(store.begun().length, 1);
    assert.equal(begin(), undefined);
    return "removed";
  });
});

test("derived uuids are valid, and other for every part of the call", () => {
  const call = { poolUuid: POOL, uid: 1, key: "k", callSha256: callSha256(clone("one")) };
  const all = [
    derivedUuid(call, 0),
    derivedUuid(call, 1),
    derivedUuid({ ...call, uid: 2 }, 0),
    derivedUuid({ ...call, key: "l" }, 0),
    derivedUuid({ ...call, callSha256: callSha256(clone("two")) }, 0),
    derivedUuid({ ...call, poolUuid: "another" }, 0),
  ];
  for (const uuid of all) {
    assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
  assert.equal(new Set(all).size, all.length);
});

test("the order in which a client writes its parameters does not matter", () => {
  const one: KnownRequest = { id: 1, method: "device.clone", params: { origin: "a", name: "b" } };
  const two: KnownRequest = { id: 2, method: "device.clone", params: { name: "b", origin: "a" } };
  assert.equal(callSha256(one), callSha256(two));
});
