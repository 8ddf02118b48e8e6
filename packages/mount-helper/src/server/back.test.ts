/** The back against a front that has been taken over: it says what it likes, and gains nothing. */
import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { MAX_CONNECTIONS_PER_UID, MAX_REQUESTS_IN_FLIGHT } from "@thinpool/protocol";
import type { KnownRequest } from "@thinpool/protocol";
import type { Caller, CallerWorker } from "../caller.ts";
import { jsonLogger } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import type { RequestLimits } from "./back.ts";
import {
  Back,
  FRONT_IDLE_MS,
  LINES_PER_SECOND,
  MAX_FRONTS,
  MAX_NOTES_PER_CONNECTION,
  MAX_TRANSFERS_PER_UID,
  REFUSALS_LOGGED_PER_SECOND,
} from "./back.ts";
import type { BackPort, ToFront } from "./channel.ts";

const ALICE: Principal = { uid: 1000, gid: 1000, pid: 10, groups: [] };
const BOB: Principal = { uid: 1001, gid: 1001, pid: 11, groups: [] };

const GENEROUS: RequestLimits = { requestsInFlight: 10_000, requestsPerSecond: 10_000 };

interface HostileFront {
  readonly uid: number;
  readonly adopted: number[];
  readonly sent: ToFront[];
  rests: number;
  fault: string | undefined;
  say(message: unknown): void;
}

interface World {
  readonly back: Back;
  readonly fronts: HostileFront[];
  readonly calls: { readonly request: KnownRequest; readonly caller: Caller }[];
  readonly log: string[];
  answerAll(): Promise<void>;
}

function world(limits: RequestLimits = GENEROUS): World {
  const fronts: HostileFront[] = [];
  const calls: { request: KnownRequest; caller: Caller; answer: (text: string) => void }[] = [];
  const log: string[] = [];
  const dispatcher = {
    answer: (request: KnownRequest, caller: Caller) => {
      const { promise, resolve } = Promise.withResolvers<string>();
      calls.push({ request, caller, answer: resolve });
      return promise;
    },
  };
  const openFront = (principal: Principal, port: BackPort) => {
    const front: HostileFront = {
      uid: principal.uid,
      adopted: [],
      sent: [],
      rests: 0,
      fault: undefined,
      say: (message) => port.receive(message),
    };
    fronts.push(front);
    return {
      identity: { uid: principal.uid, gid: principal.gid },
      adopt: (connection: number) => void front.adopted.push(connection),
      send: (message: ToFront) => void front.sent.push(message),
      rest: () => void (front.rests += 1),
      end: (fault?: string) => {
        front.fault = fault;
        port.lost(fault ?? "ended", fault === undefined);
      },
    };
  };
  const logger = jsonLogger((line) => log.push(line));
  const watch = { opened: () => undefined, closed: () => undefined };
  return {
    back: new Back({ dispatcher, watch, openFront, limitsOf: () => limits, logger }),
    fronts,
    calls,
    log,
    answerAll: async () => {
      for (const { request, answer } of calls) answer(`answer ${request.id}`);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

function connect(w: World, principal: Principal): { front: HostileFront; connection: number } {
  w.back.accept(principal, new Socket());
  const front = w.fronts.findLast(({ uid }) => uid === principal.uid) ?? assert.fail();
  const connection = front.adopted.at(-1) ?? assert.fail();
  front.say({ type: "opened", connection });
  return { front, connection };
}

function getRequest(connection: number, id: number): unknown {
  return { type: "request", connection, id, method: "device.get", params: { name: "x" } };
}

test("a request is its connection's, whatever the front adds to it", async () => {
  const w = world();
  const { front, connection } = connect(w, ALICE);
  front.say(getRequest(connection, 1));
  assert.deepEqual(w.calls[0]?.caller.principal, ALICE);
  await w.answerAll();
  assert.deepEqual(front.sent, [{ type: "answer", connection, id: 1, text: "answer 1" }]);
  front.say({ ...(getRequest(connection, 2) as object), uid: 0 });
  assert.match(front.fault ?? "", /none/);
  assert.equal(w.calls.length, 1);
});

test("a front that names another's connection is ended, and the other one goes on", () => {
  const w = world();
  const alice = connect(w, ALICE);
  const bob = connect(w, BOB);
  alice.front.say(getRequest(bob.connection, 1));
  assert.match(alice.front.fault ?? "", /does not have/);
  assert.equal(w.calls.length, 0);
  bob.front.say(getRequest(bob.connection, 1));
  assert.deepEqual(w.calls[0]?.caller.principal, BOB);
  assert.equal(bob.front.fault, undefined);
  assert.equal(w.back.connectionCount, 1);
});

test("each broken rule ends the front", () => {
  const many = Array.from({ length: MAX_REQUESTS_IN_FLIGHT + 1 }, (_, id) => id);
  const cases: readonly (readonly [string, (c: number) => readonly unknown[]])[] = [
    ["nothing", () => [undefined]],
    ["a text", () => ["request"]],
    ["an unknown type", (connection) => [{ type: "grant", connection }]],
    ["a connection that is none", () => [{ type: "closed", connection: 1.5, code: 1000 }]],
    ["opened twice", (connection) => [{ type: "opened", connection }]],
    [
      "an unknown method",
      (connection) => [{ type: "request", connection, id: 1, method: "x", params: {} }],
    ],
    [
      "a name with a slash",
      (connection) => [
        { type: "request", connection, id: 1, method: "device.get", params: { name: "../x" } },
      ],
    ],
    ["an id twice", (connection) => [getRequest(connection, 1), getRequest(connection, 1)]],
    ["too many at once", (connection) => many.map((id) => getRequest(connection, id))],
    [
      "a note of any length",
      (connection) => [
        { type: "note", connection, event: "connection-cut", reason: "x".repeat(10_000) },
      ],
    ],
    [
      "a note of its own event",
      (connection) => [{ type: "note", connection, event: "audit", reason: "x" }],
    ],
  ];
  for (const [name, messages] of cases) {
    const w = world();
    const { front, connection } = connect(w, ALICE);
    for (const message of messages(connection)) front.say(message);
    assert.notEqual(front.fault, undefined, name);
    assert.equal(w.back.connectionCount, 0, name);
  }
});

test("a request before the handshake is over ends the front", () => {
  const w = world();
  w.back.accept(ALICE, new Socket());
  const [front] = w.fronts;
  front?.say(getRequest(1, 1));
  assert.match(front?.fault ?? "", /before opened/);
});

test("notes are bounded: a front can't fill the log", () => {
  const w = world();
  const { front, connection } = connect(w, ALICE);
  for (let count = 0; count < 1000; count += 1) {
    front.say({ type: "note", connection, event: "connection-error", reason: "x" });
  }
  const lines = w.log.filter((line) => line.includes("connection-error"));
  assert.equal(lines.length, MAX_NOTES_PER_CONNECTION);
});

test("one uid gets so many connections, and only it is refused", () => {
  const w = world();
  for (let count = 0; count < MAX_CONNECTIONS_PER_UID + 5; count += 1) {
    w.back.accept(ALICE, new Socket());
  }
  assert.equal(w.back.connectionCount, MAX_CONNECTIONS_PER_UID);
  connect(w, BOB);
  assert.equal(w.back.connectionCount, MAX_CONNECTIONS_PER_UID + 1);
});

test("a front without connections ends after its time, and not before it or when somebody came", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const w = world();
  const { front, connection } = connect(w, ALICE);
  t.mock.timers.tick(10 * FRONT_IDLE_MS);
  assert.equal(w.back.workerCount, 1, "it has a connection");
  front.say({ type: "closed", connection, code: 1000 });
  t.mock.timers.tick(FRONT_IDLE_MS - 1);
  const second = connect(w, ALICE);
  assert.equal(second.front, front);
  t.mock.timers.tick(FRONT_IDLE_MS);
  assert.equal(w.back.workerCount, 1, "somebody came");
  front.say({ type: "closed", connection: second.connection, code: 1000 });
  t.mock.timers.tick(FRONT_IDLE_MS - 1);
  assert.equal(w.back.workerCount, 1);
  t.mock.timers.tick(1);
  assert.equal(w.back.workerCount, 0);
  assert.equal(front.fault, undefined);
});

test("so many users at once: an idle front makes room, a busy one does not", () => {
  const w = world();
  for (let uid = 1; uid <= MAX_FRONTS; uid += 1) connect(w, { ...ALICE, uid });
  w.back.accept({ ...ALICE, uid: 5_000 }, new Socket());
  assert.equal(w.fronts.length, MAX_FRONTS, "the one too many was refused");
  const [first] = w.fronts;
  first?.say({ type: "closed", connection: first.adopted[0], code: 1000 });
  connect(w, { ...ALICE, uid: 5_000 });
  assert.equal(w.back.workerCount, MAX_FRONTS);
  assert.equal(w.back.connectionCount, MAX_FRONTS);
  assert.deepEqual(
    w.fronts.map(({ uid }) => uid).filter((uid) => uid === 1 || uid === 5_000),
    [1, 5_000],
  );
});

test("an answer whose connection has gone is dropped; its call was told", async () => {
  const w = world();
  const { front, connection } = connect(w, ALICE);
  front.say(getRequest(connection, 1));
  front.say({ type: "closed", connection, code: 1000 });
  assert.equal(w.calls[0]?.caller.signal.aborted, true);
  await w.answerAll();
  assert.deepEqual(front.sent, []);
  assert.equal(w.back.push(connection, "x"), false);
});

test("cancel reaches the call, and only it", () => {
  const w = world();
  const { front, connection } = connect(w, ALICE);
  front.say(getRequest(connection, 1));
  front.say(getRequest(connection, 2));
  front.say({ type: "cancel", connection, id: 1 });
  front.say({ type: "cancel", connection, id: 9 });
  assert.deepEqual(
    w.calls.map(({ caller }) => caller.signal.aborted),
    [true, false],
  );
  assert.equal(front.fault, undefined);
});

test("the policy's limits are the user's, over all his connections; each refusal is an answer", () => {
  const w = world({ requestsInFlight: 3, requestsPerSecond: 100 });
  const first = connect(w, ALICE);
  const second = connect(w, ALICE);
  for (const id of [1, 2]) first.front.say(getRequest(first.connection, id));
  for (const id of [1, 2]) second.front.say(getRequest(second.connection, id));
  assert.equal(w.calls.length, 3);
  const [answer] = first.front.sent;
  assert.ok(answer?.type === "answer" && answer.id === 2);
  assert.equal(answer.connection, second.connection);
  assert.match(answer.text, /3 requests of yours/);
  const bob = connect(w, BOB);
  bob.front.say(getRequest(bob.connection, 1));
  assert.equal(w.calls.length, 4, "another user's requests are his own");
});

test("who asks more often than he may is told, and is not read for a while", async () => {
  const w = world({ requestsInFlight: 64, requestsPerSecond: 5 });
  const { front, connection } = connect(w, ALICE);
  for (let id = 1; id <= 20; id += 1) front.say(getRequest(connection, id));
  assert.equal(w.calls.length, 5);
  assert.equal(front.sent.filter(({ type }) => type === "answer").length, 15);
  assert.equal(front.rests, 15);
  assert.equal(front.fault, undefined);
  await w.answerAll();
});

const WISH = { direction: "to-daemon", path: "/m" } as const;
const DONE = { ok: true, entries: 1, streamBytes: 2, sha256: "a".repeat(64), reduced: 0 } as const;

function importing(w: World, principal: Principal): { front: HostileFront; worker: CallerWorker } {
  const { front, connection } = connect(w, principal);
  const params = { name: "x", idempotencyKey: "key" };
  front.say({ type: "request", connection, id: 1, method: "device.import", params });
  return { front, worker: w.calls.at(-1)?.caller.worker ?? assert.fail() };
}

test("whatever a front says counts as asking: it can't keep the daemon busy with what is no request", () => {
  const note = { type: "note", event: "request-refused", reason: "PARSE_ERROR" } as const;
  const floods = {
    notes: (connection: number): unknown => ({ ...note, connection }),
    cancels: (connection: number): unknown => ({ type: "cancel", connection, id: 1 }),
    "requests beyond those in flight": (connection: number): unknown => getRequest(connection, 2),
  };
  for (const [name, flood] of Object.entries(floods)) {
    const w = world({ requestsInFlight: 1, requestsPerSecond: 5 });
    const { front, connection } = connect(w, ALICE);
    front.say(getRequest(connection, 1));
    for (let count = 0; count < 4; count += 1) front.say(flood(connection));
    assert.equal(front.rests, 0, name);
    for (let count = 0; count < 10; count += 1) front.say(flood(connection));
    assert.equal(front.rests, 10, name);
    assert.equal(front.fault, undefined);
    assert.equal(w.calls.length, 1, name);
  }
});

test("connections that are refused fill no log: so many lines a second, the rest is counted", (t) => {
  let now = 1_000;
  t.mock.method(performance, "now", () => now);
  const w = world();
  for (let count = 0; count < MAX_CONNECTIONS_PER_UID; count += 1) connect(w, ALICE);
  const refused = (): readonly Record<string, unknown>[] =>
    w.log
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === "too-many-connections");
  for (let count = 0; count < 100; count += 1) w.back.accept(ALICE, new Socket());
  assert.equal(refused().length, REFUSALS_LOGGED_PER_SECOND);
  now += 1_000;
  w.back.accept(ALICE, new Socket());
  assert.equal(refused().length, REFUSALS_LOGGED_PER_SECOND + 1);
  assert.equal(refused().at(-1)?.["unlogged"], 100 - REFUSALS_LOGGED_PER_SECOND);
});

test("who connects again and again fills no log, and no line tells of an end without a beginning", (t) => {
  let now = 1_000;
  t.mock.method(performance, "now", () => now);
  const w = world();
  const again = (): void => {
    const { front, connection } = connect(w, ALICE);
    const note = { type: "note", connection, event: "request-refused", reason: "PARSE_ERROR" };
    for (let count = 0; count < 3; count += 1) front.say(note);
    front.say({ type: "closed", connection, code: 1000 });
  };
  for (let count = 0; count < 10 * LINES_PER_SECOND; count += 1) again();
  const events = (name: string): number =>
    w.log.filter((line) => line.includes(`"${name}"`)).length;
  assert.equal(events("connected") + events("request-refused"), LINES_PER_SECOND);
  assert.equal(events("disconnected"), events("connected"));
  now += 1_000;
  again();
  assert.match(w.log.find((line) => line.includes('"unlogged"')) ?? "", /"connected"/);
  connect(w, BOB);
  assert.match(w.log.at(-1) ?? "", /"connected".*1001/);
});

test("a transfer is told to the front once, with its call's key, and ends by its word, once", async () => {
  const w = world();
  const { front, worker } = importing(w, ALICE);
  assert.deepEqual(worker.identity, { uid: ALICE.uid, gid: ALICE.gid });
  const work = worker.transfer(WISH, new AbortController().signal);
  const [told] = front.sent;
  assert.ok(told?.type === "transfer" && told.key === "key" && told.path === "/m");
  const { transfer } = told;
  // Its connection may be gone by then.
  front.say({ type: "closed", connection: told.connection, code: 1000 });
  front.say({ type: "transferred", transfer, outcome: DONE });
  assert.deepEqual(await work, DONE);
  assert.equal(front.fault, undefined);
  front.say({ type: "transferred", transfer, outcome: DONE });
  assert.match(front.fault ?? "", /a message about transfer 1, which it does not have/);
});

test("what a front says of a transfer is read by its schema", () => {
  const wrongs: readonly unknown[] = [
    { ...DONE, entries: -1 },
    { ...DONE, sha256: "none" },
    { ...DONE, more: 1 },
    { ok: false, code: "MADE_UP", object: "o", reason: "r" },
    { ok: false, code: "BUSY", object: "o".repeat(501), reason: "r" },
    { ok: false, code: "BUSY", reason: "r" },
  ];
  for (const outcome of wrongs) {
    const w = world();
    const { front, worker } = importing(w, ALICE);
    worker.transfer(WISH, new AbortController().signal).catch(() => undefined);
    front.say({ type: "transferred", transfer: 1, outcome });
    assert.equal(front.fault, "a message that is none", JSON.stringify(outcome));
  }
});

test("a transfer fails by the front's word, by its end, by the signal, and beyond the limit", async () => {
  const { signal } = new AbortController();
  const w = world();
  const { front, worker } = importing(w, ALICE);
  const failing = worker.transfer(WISH, signal);
  const outcome = { ok: false, code: "ARCHIVE_REFUSED", object: '"a"', reason: "it is a pipe" };
  front.say({ type: "transferred", transfer: 1, outcome });
  await assert.rejects(failing, {
    code: "ARCHIVE_REFUSED",
    message: /device.import of "a": it is/,
  });
  const stopping = new AbortController();
  const running = Array.from({ length: MAX_TRANSFERS_PER_UID }, () =>
    worker.transfer(WISH, stopping.signal),
  );
  await assert.rejects(worker.transfer(WISH, signal), { code: "LIMIT" });
  await assert.rejects(
    async () => {
      const bob = importing(w, BOB);
      const work = bob.worker.transfer(WISH, AbortSignal.abort());
      assert.ok(bob.front.sent.some(({ type }) => type === "withdraw"));
      bob.front.say({
        type: "transferred",
        transfer: 1,
        outcome: { ...outcome, code: "CANCELLED" },
      });
      await work;
    },
    { code: "CANCELLED" },
  );
  stopping.abort();
  assert.equal(front.sent.filter(({ type }) => type === "withdraw").length, running.length);
  front.say("nonsense");
  for (const each of running) await assert.rejects(each, { code: "STREAM_LOST" });
});

test("a client that was told to go is not served any more, and its end is told once", async () => {
  const w = world();
  const { front, connection } = connect(w, ALICE);
  let ends = 0;
  const ended = (): void => void (ends += 1);
  const token = "of the guest";
  const guest = w.back.accept(ALICE, new Socket(), { token, ended }) ?? assert.fail();
  front.say({ type: "opened", connection: guest });
  front.say(getRequest(guest, 1));
  assert.equal(w.calls[0]?.caller.token, token);
  w.back.dismiss(guest, 4401, "over");
  assert.deepEqual(front.sent, [{ type: "close", connection: guest, code: 4401, reason: "over" }]);
  assert.ok(w.calls[0].caller.signal.aborted);
  front.say(getRequest(guest, 2));
  front.say(getRequest(connection, 1));
  assert.equal(w.calls.length, 2);
  assert.equal(w.calls[1]?.caller.token, undefined);
  assert.equal(w.calls[1]?.caller.signal.aborted, false);
  front.say({ type: "closed", connection: guest, code: 4401 });
  assert.equal(ends, 1);
  assert.equal(front.fault, undefined);
  await w.answerAll();
});

test("where there is no place for a connection its end is told, too", () => {
  const w = world();
  for (let count = 0; count < MAX_CONNECTIONS_PER_UID; count += 1) {
    assert.ok(w.back.accept(ALICE, new Socket()) !== undefined);
  }
  let ends = 0;
  const ended = (): void => void (ends += 1);
  assert.equal(w.back.accept(ALICE, new Socket(), { ended }), undefined);
  assert.equal(ends, 1);
});
