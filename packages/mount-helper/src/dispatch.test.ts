/** A call's time: what becomes of one that takes too long, and of those behind it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { KnownRequest } from "@thinpool/protocol";
import { parseResponse } from "@thinpool/protocol";
import type { Caller } from "./caller.ts";
import {
  Dispatcher,
  MAX_CHANGES_PER_UID,
  MAX_LISTS_PER_UID,
  MAX_OVERDUE_PER_UID,
  REFUSALS_AUDITED_PER_SECOND,
} from "./dispatch.ts";
import type { EndedCall } from "./dispatch.ts";
import type { CallContext, Handlers } from "./handlers/index.ts";
import { KeyStore } from "./idempotency/key-store.ts";
import type { Recognise } from "./idempotency/keyed-calls.ts";
import { KeyedCalls } from "./idempotency/keyed-calls.ts";
import { KeyedQueue, MAX_WAITING_PER_KEY } from "./keyed-queue.ts";
import { DEFAULT_LIMITS } from "./policy/access.ts";
import type { Verdict } from "./policy/policy.ts";
import { ITEMS_PER_TURN } from "./turns.ts";

const LIMIT_MS = 30;
const LONG_LIMIT_MS = 300;
/** No call here has as long. */
const PATIENCE_MS = 60_000;
const UID = 1000;

const NOT_FOUND: Verdict = { allowed: false, rule: "none", code: "NOT_FOUND", reason: "none" };
const REPORT = { atMs: 1, metadata: "clean", report: "", findings: [], findingsLeftOut: 0 };
const DEVICE = {
  name: "d",
  uuid: "0b6f8a52-9f4e-4c56-8a37-3f1f7a3f9f10",
  thinId: 1,
  sizeBytes: "4194304",
  filesystem: "none",
  createdAtMs: 1,
  transactionId: "7",
  ownerUid: UID,
  active: false,
};
const LIST: KnownRequest = { id: 1, method: "device.list", params: {} };
const CLONE: KnownRequest = {
  id: 1,
  method: "device.clone",
  params: { origin: "one", name: "two" },
};
const CHECK: KnownRequest = { id: 1, method: "pool.check", params: {} };

interface World {
  readonly dispatcher: Dispatcher;
  /** What handlers were called with, in order; each waits for `finish`, "stops" for its signal too. */
  readonly begun: {
    readonly name: string;
    readonly signal: AbortSignal;
    /** The record of the key "k" at that moment. */
    readonly record: "begun" | "done" | undefined;
  }[];
  readonly finish: PromiseWithResolvers<undefined>;
  readonly observed: EndedCall[];
  readonly keys: KeyStore;
  readonly queue: KeyedQueue;
  /** Lists that were begun and, by the test's word, are not answered yet. */
  readonly lists: { now: number; most: number };
  audit(): readonly Readonly<Record<string, unknown>>[];
}

interface Options {
  /** The policy's answers, one after another; then, and by default, all is allowed. */
  readonly verdicts?: Verdict[];
  readonly rule?: Recognise;
  /** A user whom the policy lets do nothing. */
  readonly stranger?: number;
  readonly requestMs?: number;
  readonly deviceOfReference?: () => string | undefined;
}

function world(options: Options = {}): World {
  const { verdicts = [], rule = { how: "repeated" }, stranger, requestMs = LIMIT_MS } = options;
  const log: Record<string, unknown>[] = [];
  const logger = {
    log: (_level: string, event: string, fields: object = {}) =>
      void log.push({ event, ...fields }),
  };
  const begun: World["begun"] = [];
  const observed: EndedCall[] = [];
  const finish = Promise.withResolvers<undefined>();
  const keys = new KeyStore(":memory:");
  const removing = async (
    { name }: { readonly name: string },
    _principal: unknown,
    { signal }: CallContext,
  ): Promise<object> => {
    begun.push({ name, signal, record: keys.find(UID, "k")?.state });
    const stopped = Promise.withResolvers<never>();
    if (name === "stops") signal.addEventListener("abort", () => stopped.reject(signal.reason));
    await Promise.race([finish.promise, stopped.promise]);
    return {};
  };
  const checking = (_params: object, principal: unknown, call: CallContext): Promise<object> =>
    removing({ name: "stops" }, principal, call).then(() => REPORT);
  const lists = { now: 0, most: 0 };
  const listing = (): Promise<readonly unknown[]> => {
    lists.now += 1;
    lists.most = Math.max(lists.most, lists.now);
    return Promise.resolve(Array.from({ length: 2 * ITEMS_PER_TURN + 1 }, () => DEVICE));
  };
  // The only methods that are called here.
  const handlers = {
    "device.list": listing,
    "device.remove": removing,
    "pool.check": checking,
  } as unknown as Handlers;
  const keyed = new KeyedCalls({
    poolUuid: "0b6f8a52-9f4e-4c56-8a37-3f1f7a3f9f10",
    store: keys,
    recognise: () => rule,
    logger,
  });
  const queue = new KeyedQueue();
  const dispatcher = new Dispatcher({
    handlers,
    keyed,
    access: {
      actingAs: (principal) => Promise.resolve({ principal, onBehalfOf: undefined }),
      judge: ({ uid }) =>
        uid === stranger ? NOT_FOUND : (verdicts.shift() ?? { allowed: true, rule: "all" }),
      limits: () => ({ ...DEFAULT_LIMITS, requestMs }),
    },
    deviceOfReference: options.deviceOfReference ?? (() => undefined),
    queue,
    logger,
    observe: (call) => observed.push(call),
    longRequestMs: LONG_LIMIT_MS,
  });
  const audit = (): readonly Readonly<Record<string, unknown>>[] =>
    log.filter(({ event }) => event === "audit");
  return { dispatcher, begun, finish, observed, keys, queue, lists, audit };
}

function remove(name: string, key?: string): KnownRequest {
  const request = { id: 1, method: "device.remove", params: { name } } as const;
  return key === undefined ? request : { ...request, key };
}

function caller(uid = UID): Caller {
  const canceller = new AbortController();
  return {
    principal: { uid, gid: uid, pid: 7, groups: [] },
    connection: 1,
    signal: canceller.signal,
    giveUp: (reason) => canceller.abort(reason),
  };
}

async function ask(w: World, request: KnownRequest, uid = UID): Promise<string> {
  const parsed = parseResponse(await w.dispatcher.answer(request, caller(uid)));
  assert.ok(parsed.ok);
  return "error" in parsed.value ? parsed.value.error.data.code : "done";
}

test("a call that takes too long is answered, goes on to its end, and the audit log has both", async () => {
  const w = world();
  assert.equal(await ask(w, remove("one")), "TIMEOUT");
  assert.equal(w.begun[0]?.signal.aborted, true, "what can stop safely is told to");
  w.finish.resolve(undefined);
  await w.dispatcher.drain();
  const lines = w.audit().map(({ call, outcome, late }) => [call, outcome, late]);
  assert.deepEqual(lines, [
    [1, "TIMEOUT", undefined],
    [1, "done", true],
  ]);
  assert.deepEqual(
    w.observed.map(({ outcome }) => outcome),
    ["TIMEOUT"],
    "it is one call",
  );
});

test("what takes as long as the pool is large has a limit of its own, for root too", async () => {
  for (const uid of [UID, 0]) {
    const w = world();
    const checking = ask(w, CHECK, uid);
    assert.equal(await ask(w, remove("one")), "TIMEOUT");
    assert.equal(w.begun[0]?.signal.aborted, false);
    w.finish.resolve(undefined);
    assert.equal(await checking, "done");
    const late = world();
    assert.equal(await ask(late, CHECK, uid), "TIMEOUT");
    assert.equal(late.begun[0]?.signal.aborted, true, "what can stop safely is told to");
    await late.dispatcher.drain();
  }
});

test("one that waits behind it is answered too, and never begins", async () => {
  const w = world();
  const first = ask(w, remove("one"));
  const second = await ask(w, remove("one"));
  assert.deepEqual([await first, second], ["TIMEOUT", "TIMEOUT"]);
  w.finish.resolve(undefined);
  // Behind both: its turn comes when the second one's has passed.
  assert.equal(await ask(w, remove("one")), "done");
  assert.equal(w.begun.length, 2);
  const outcomes = w.audit().map(({ call, outcome }) => `${String(call)} ${String(outcome)}`);
  assert.deepEqual(outcomes, ["1 TIMEOUT", "2 TIMEOUT", "1 done", "3 done"]);
});

test("asked again with its key, it is waited for, and done once", async () => {
  const w = world();
  assert.equal(await ask(w, remove("one", "k")), "TIMEOUT");
  assert.equal(await ask(w, remove("one", "k")), "TIMEOUT");
  const third = ask(w, remove("one", "k"));
  w.finish.resolve(undefined);
  assert.equal(await third, "done");
  assert.equal(w.begun.length, 1);
});

test("a call with a key whose turn did not come leaves the key to who asks again", async () => {
  const w = world();
  const before = ask(w, remove("one"));
  const withdrawn = ask(w, remove("one", "k"));
  assert.deepEqual([await before, await withdrawn], ["TIMEOUT", "TIMEOUT"]);
  const again = ask(w, remove("one", "k"));
  w.finish.resolve(undefined);
  assert.equal(await again, "done");
  assert.equal(w.begun.length, 2);
});

test("one that was stopped half way, with nothing done, is done for who asked again meanwhile", async () => {
  const w = world();
  const cut = new AbortController();
  const first = w.dispatcher.answer(remove("stops", "k"), { ...caller(), signal: cut.signal });
  const again = ask(w, remove("stops", "k"));
  while (w.begun.length === 0) await setImmediate();
  cut.abort();
  assert.match(await first, /"CANCELLED"/);
  w.finish.resolve(undefined);
  assert.equal(await again, "done");
  assert.equal(w.begun.length, 2);
});

test("a user can't pile up calls that outlive their time; others and root are served", async () => {
  const w = world();
  const names = Array.from({ length: MAX_OVERDUE_PER_UID }, (_, index) => `d${index}`);
  const codes = await Promise.all(names.map((name) => ask(w, remove(name))));
  assert.deepEqual(new Set(codes), new Set(["TIMEOUT"]));
  assert.equal(await ask(w, remove("more")), "LIMIT");
  assert.equal(await ask(w, remove("theirs"), UID + 1), "TIMEOUT");
  const roots = ask(w, remove("roots"), 0);
  w.finish.resolve(undefined);
  assert.equal(await roots, "done");
  assert.equal(await ask(w, remove("more")), "done");
});

test("who may not touch a device can't keep its owner, or the daemon, from their turns on it", async () => {
  const stranger = UID + 1;
  const w = world({ stranger, requestMs: PATIENCE_MS });
  const first = ask(w, remove("one"));
  const strangers = Array.from({ length: 2 * MAX_WAITING_PER_KEY }, () =>
    ask(w, remove("one"), stranger),
  );
  // A few of them come to the line with each turn of the event loop.
  for (const _each of strangers) await setImmediate();
  const second = ask(w, remove("one"));
  const daemons = w.queue.run("one", "end of references", () => Promise.resolve("tended"));
  await setImmediate();
  w.finish.resolve(undefined);
  assert.deepEqual([await first, await second, await daemons], ["done", "done", "tended"]);
  assert.deepEqual(new Set(await Promise.all(strangers)), new Set(["NOT_FOUND"]));
});

test("of one user's changes only a share is under way: the pool's places are for all", async () => {
  const w = world({ requestMs: PATIENCE_MS });
  const names = Array.from({ length: 2 * MAX_CHANGES_PER_UID }, (_, index) => `d${index}`);
  const many = names.map((name) => ask(w, remove(name)));
  const others = ask(w, remove("theirs"), UID + 1);
  const roots = ask(w, remove("roots"), 0);
  while (!w.begun.some(({ name }) => name === "roots")) await setImmediate();
  assert.equal(w.begun.length, MAX_CHANGES_PER_UID + 2);
  w.finish.resolve(undefined);
  const codes = await Promise.all([...many, others, roots]);
  assert.deepEqual(new Set(codes), new Set(["done"]));
  assert.deepEqual(
    w.begun.flatMap(({ name }) => (name.startsWith("d") ? [name] : [])),
    names,
    "in the order in which they were asked for",
  );
});

test("calls that are refused fill no log: of each user's and method's so many lines a second, the rest is counted", async (t) => {
  let now = 1_000;
  t.mock.method(performance, "now", () => now);
  const stranger = UID + 1;
  const w = world({ stranger, requestMs: PATIENCE_MS });
  w.finish.resolve(undefined);
  const total = 4 * REFUSALS_AUDITED_PER_SECOND;
  const flood = Array.from({ length: total }, () => ask(w, remove("one"), stranger));
  assert.deepEqual(new Set(await Promise.all(flood)), new Set(["NOT_FOUND"]));
  assert.equal(w.audit().length, REFUSALS_AUDITED_PER_SECOND);
  assert.equal(await ask(w, remove("one")), "done");
  assert.equal(w.audit().at(-1)?.["outcome"], "done", "what happens has its line");
  assert.equal(await ask(w, CLONE, stranger), "NOT_FOUND");
  assert.equal(w.audit().at(-1)?.["method"], CLONE.method, "nor is another method's hidden");
  now += 1_000;
  await ask(w, remove("one"), stranger);
  assert.equal(w.audit().at(-1)?.["unlogged"], total - REFUSALS_AUDITED_PER_SECOND);
});

test("of one user's long answers only a few are put together at once, root's too", async () => {
  for (const uid of [UID, 0]) {
    const w = world({ requestMs: PATIENCE_MS });
    const all = Array.from({ length: 8 * MAX_LISTS_PER_UID }, async () => {
      const outcome = await ask(w, LIST, uid);
      w.lists.now -= 1;
      return outcome;
    });
    assert.deepEqual(new Set(await Promise.all(all)), new Set(["done"]));
    // The next ones begin some moments before the test hears of those that ended.
    assert.ok(w.lists.most < 2 * MAX_LISTS_PER_UID, `${w.lists.most} at once`);
  }
});

test("the policy is asked anew when what a call takes away has been written down", async () => {
  const rule: Recognise = { how: "compared", before: () => "one", find: () => undefined };
  const refusal: Verdict = { allowed: false, rule: "none", code: "FORBIDDEN", reason: "no longer" };
  const w = world({ rule, verdicts: [{ allowed: true, rule: "all" }, refusal] });
  assert.equal(await ask(w, remove("one", "k")), "FORBIDDEN");
  assert.deepEqual(w.begun, []);
  w.finish.resolve(undefined);
  assert.equal(await ask(w, remove("one", "k")), "done", "its key is free");
});

test("a change without a key waits for the records of what was done before", async () => {
  const w = world();
  w.finish.resolve(undefined);
  const used = { uid: UID, key: "k", callSha256: "0".repeat(64) };
  w.keys.doneSoon(used, "{}", (error) => assert.fail(String(error)));
  const settled = w.keys.settled()?.then(() => w.begun.length);
  assert.equal(await ask(w, remove("one")), "done");
  assert.equal(await settled, 0);
});

test("what was made is on record before its turn is another's", async () => {
  const w = world({ rule: { how: "made", find: () => undefined } });
  w.finish.resolve(undefined);
  assert.deepEqual(await Promise.all([ask(w, remove("one", "k")), ask(w, remove("one"))]), [
    "done",
    "done",
  ]);
  assert.deepEqual(
    w.begun.map(({ record }) => record),
    [undefined, "done"],
  );
  assert.equal(w.keys.settled(), undefined);
});

test("a call whose reference comes and goes while it waits is refused in the end, and nothing is done", async () => {
  let asked = 0;
  const deviceOfReference = (): string => {
    asked += 1;
    return `device-${asked}`;
  };
  const w = world({ deviceOfReference });
  const reference = "0b6f8a52-9f4e-4c56-8a37-3f1f7a3f9f11";
  assert.equal(await ask(w, { id: 1, method: "mount.release", params: { reference } }), "BUSY");
  assert.deepEqual(w.begun, []);
});
