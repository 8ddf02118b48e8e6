import assert from "node:assert/strict";
import { test } from "node:test";
import type { MethodResult } from "@thinpool/protocol";
import {
  MAX_REQUESTS_IN_FLIGHT,
  encodeCancel,
  encodeFailure,
  encodeSuccess,
  errorCodeNames,
  errorCodes,
  errorObjectOf,
} from "@thinpool/protocol";
import { clientError, errorFromWire, hasCode } from "./errors.ts";
import type { ThinpoolError } from "./errors.ts";
import { MAX_WAITING_CALLS, Requests } from "./requests.ts";
import type { StreamEnd } from "./streams.ts";
import { chooseSocketPath, describeOpenFailure } from "./unix-socket.ts";

/** A link whose other end is the test. */
class Wire {
  readonly sent: string[] = [];
  up = true;
  distrusted: ThinpoolError | undefined;
  requests: Requests | undefined;
  send(text: string): boolean {
    if (this.up) this.sent.push(text);
    return this.up;
  }
  distrust(error: ThinpoolError): void {
    this.distrusted = error;
    this.requests?.ended(() => error);
  }
  answer(text: string): void {
    this.requests?.receive(text);
  }
  cut(): void {
    this.up = false;
    this.requests?.down();
  }
  join(): void {
    this.up = true;
    this.requests?.up();
  }
}

function setUp(timeoutMs = 1_000): { wire: Wire; requests: Requests } {
  const wire = new Wire();
  const requests = new Requests(wire, timeoutMs);
  wire.requests = requests;
  return { wire, requests };
}

/** One turn of the event loop: what was asked for has been sent. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test("answers find their requests in any order", async () => {
  const { wire, requests } = setUp();
  const first = requests.call("device.remove", { name: "a" });
  const second = requests.call("mount.list", {});
  await turn();
  wire.answer(encodeSuccess(2, "mount.list", []));
  wire.answer(encodeSuccess(1, "device.remove", {}));
  assert.deepEqual(await second, []);
  assert.deepEqual(await first, {});
  assert.equal(requests.inFlight, 0);
});

test("a failure of the daemon arrives with its code and hint", async () => {
  const { wire, requests } = setUp();
  const call = requests.call("device.remove", { name: "a" });
  const description = { operation: "device.remove", object: "a", reason: "it is mounted" };
  await turn();
  wire.answer(encodeFailure(1, errorObjectOf({ code: "BUSY", ...description, errno: 16 })));
  await assert.rejects(call, (error) => {
    assert.ok(hasCode(error, "BUSY"));
    assert.deepEqual([error.retryable, error.errno, error.hint], [true, 16, errorCodes.BUSY.hint]);
    return true;
  });
});

test("every code of the table survives the way over the wire", () => {
  for (const code of errorCodeNames) {
    const wire = errorObjectOf({ code, operation: "o", object: "x", reason: "r" });
    const error = errorFromWire(wire);
    assert.deepEqual(
      [error.code, error.hint, error.retryable],
      [code, errorCodes[code].hint, errorCodes[code].retryable],
    );
  }
});

test("after a cut what is safe is sent again as it was, and a change without a key fails", async () => {
  const { wire, requests } = setUp();
  const look = requests.call("pool.status", {}, { timeoutMs: 500 });
  const keyed = requests.call("device.remove", { name: "a" });
  const bare = requests.call("device.remove", { name: "b" }, { idempotencyKey: false });
  await turn();
  wire.cut();
  await assert.rejects(bare, (error) => hasCode(error, "CONNECTION_LOST"));
  const meanwhile = requests.call("mount.list", {});
  await turn();
  assert.equal(wire.sent.length, 3);
  wire.join();
  const [first, second, , ...again] = wire.sent;
  assert.deepEqual(again.slice(0, 2), [first, second]);
  assert.equal(again.length, 3);
  wire.answer(encodeSuccess(2, "device.remove", {}));
  wire.answer(encodeSuccess(4, "mount.list", []));
  assert.deepEqual([await keyed, await meanwhile], [{}, []]);
  await assert.rejects(look, (error) => hasCode(error, "TIMEOUT"));
});

test("a change has a key of its own unless it is given one", async () => {
  const { wire, requests } = setUp();
  const end = new AbortController();
  const ask = (idempotencyKey?: string | false): void => {
    const options = { idempotencyKey, signal: end.signal };
    void requests.call("device.remove", { name: "a" }, options).catch(() => undefined);
  };
  ask();
  ask();
  ask("mine");
  ask(false);
  await turn();
  const keys = wire.sent.map(
    (text) => (JSON.parse(text) as { params: { idempotencyKey?: string } }).params.idempotencyKey,
  );
  assert.match(keys[0] ?? "", /^[0-9a-f]{32}$/);
  assert.notEqual(keys[0], keys[1]);
  assert.deepEqual(keys.slice(2), ["mine", undefined]);
  end.abort();
});

test("a daemon that says it is stopping is asked again", async () => {
  const { wire, requests } = setUp();
  const call = requests.call("device.remove", { name: "a" });
  await turn();
  const description = { operation: "o", object: "x", reason: "the daemon is stopping" };
  wire.answer(encodeFailure(1, errorObjectOf({ code: "UNAVAILABLE", ...description })));
  while (wire.sent.length < 2) await turn();
  const [first, second] = wire.sent.map((text) => JSON.parse(text) as { params: unknown });
  assert.deepEqual(second?.params, first?.params, "with the same key");
  wire.answer(encodeSuccess(2, "device.remove", {}));
  assert.deepEqual(await call, {});
});

test("time limit and signal end a request; its late answer is dropped", async () => {
  const { wire, requests } = setUp(20);
  const slow = requests.call("pool.status", {});
  const controller = new AbortController();
  const aborted = requests.call("mount.list", {}, { signal: controller.signal, timeoutMs: 5_000 });
  await turn();
  controller.abort(new Error("enough"));
  await assert.rejects(aborted, (error) => hasCode(error, "ABORTED"));
  await assert.rejects(slow, (error) => hasCode(error, "TIMEOUT"));
  wire.answer(encodeSuccess(2, "mount.list", []));
  assert.equal(requests.inFlight, 0);
  const before = requests.call("mount.list", {}, { signal: controller.signal });
  await assert.rejects(before, (error) => hasCode(error, "ABORTED"));
  assert.deepEqual(wire.sent.slice(2), [encodeCancel(2), encodeCancel(1)]);
});

test("what takes as long as the pool is large has no limit, unless it is given one", async () => {
  const { wire, requests } = setUp(20);
  const report: MethodResult<"pool.check"> = {
    atMs: 1,
    metadata: "clean",
    report: "",
    findings: [],
    findingsLeftOut: 0,
  };
  const check = requests.call("pool.check", {});
  const hurried = requests.call("pool.check", {}, { timeoutMs: 20 });
  const common = requests.call("pool.status", {});
  for (const call of [hurried, common]) {
    await assert.rejects(call, (error) => hasCode(error, "TIMEOUT"));
  }
  wire.answer(encodeSuccess(1, "pool.check", report));
  assert.deepEqual(await check, report);
});

test("no more requests in flight than the protocol allows: the others wait, up to a limit", async () => {
  const { wire, requests } = setUp(60_000);
  const total = MAX_REQUESTS_IN_FLIGHT + MAX_WAITING_CALLS;
  const calls = Array.from({ length: total }, () => requests.call("mount.list", {}));
  await assert.rejects(requests.call("mount.list", {}), (error) => hasCode(error, "LIMIT"));
  assert.equal(wire.sent.length, MAX_REQUESTS_IN_FLIGHT);
  for (let id = 1; id <= total; id += 1) {
    while (wire.sent.length < id) await turn();
    wire.answer(encodeSuccess(id, "mount.list", []));
    assert.ok(requests.inFlight <= MAX_REQUESTS_IN_FLIGHT);
  }
  await Promise.all(calls);
});

test("who gives up while waiting for a place leaves it to the next", async () => {
  const { wire, requests } = setUp(60_000);
  const end = new AbortController();
  const full = Array.from({ length: MAX_REQUESTS_IN_FLIGHT }, () =>
    requests.call("mount.list", {}),
  );
  const given = requests.call("mount.list", {}, { signal: end.signal });
  const next = requests.call("pool.status", {});
  await turn();
  end.abort();
  await assert.rejects(given, (error) => hasCode(error, "ABORTED"));
  wire.answer(encodeSuccess(1, "mount.list", []));
  await full[0];
  await turn();
  assert.match(wire.sent.at(-1) ?? "", /pool.status/);
  requests.ended((operation) =>
    clientError("CLIENT_CLOSED", { operation, object: "the daemon", reason: "closed" }),
  );
  await Promise.allSettled([...full, next]);
});

test("those that gave up while waiting for a place take none of those that wait", async () => {
  const { wire, requests } = setUp(60_000);
  const full = Array.from({ length: MAX_REQUESTS_IN_FLIGHT }, () =>
    requests.call("mount.list", {}),
  );
  const end = new AbortController();
  const given = Array.from({ length: MAX_WAITING_CALLS }, () =>
    requests.call("mount.list", {}, { signal: end.signal }),
  );
  await turn();
  await assert.rejects(requests.call("pool.status", {}), (error) => hasCode(error, "LIMIT"));
  end.abort();
  await Promise.allSettled(given);
  const next = requests.call("pool.status", {});
  await turn();
  wire.answer(encodeSuccess(1, "mount.list", []));
  await full[0];
  await turn();
  assert.match(wire.sent.at(-1) ?? "", /pool.status/);
  requests.ended((operation) =>
    clientError("CLIENT_CLOSED", { operation, object: "the daemon", reason: "closed" }),
  );
  await Promise.allSettled([...full, next]);
});

test("what is wrong on this side is not sent", async () => {
  const { wire, requests } = setUp();
  const bad = requests.call("device.remove", { name: "a/b" });
  await assert.rejects(bad, (error) => hasCode(error, "NAME_INVALID"));
  const size = requests.call("device.create", { name: "a", sizeBytes: "-1" });
  await assert.rejects(size, (error) => hasCode(error, "ARGUMENT_INVALID"));
  assert.deepEqual(wire.sent, []);
});

test("an answer that breaks the protocol fails its request, or all when it has no id", async () => {
  const { wire, requests } = setUp();
  const misfit = requests.call("mount.list", {});
  await turn();
  wire.answer(JSON.stringify({ jsonrpc: "2.0", id: 1, result: [{}] }));
  await assert.rejects(misfit, (error) => hasCode(error, "PROTOCOL"));
  const waiting = requests.call("mount.list", {});
  await turn();
  wire.answer('{"jsonrpc":"2.0","method":"later.notification","params":{}}');
  assert.equal(requests.inFlight, 1, "a newer daemon's notification is nothing to this side");
  wire.answer("{");
  await assert.rejects(waiting, (error) => hasCode(error, "PROTOCOL"));
  assert.ok(hasCode(wire.distrusted, "PROTOCOL"));
});

test("the socket's path: argument, then environment, then default", () => {
  assert.equal(chooseSocketPath("/a", { THINPOOL_SOCKET: "/b" }), "/a");
  assert.equal(chooseSocketPath(undefined, { THINPOOL_SOCKET: "/b" }), "/b");
  assert.equal(chooseSocketPath(undefined, { THINPOOL_SOCKET: "" }), "/run/thinpool/thinpool.sock");
});

function failure(code: string): string {
  return describeOpenFailure(Object.assign(new Error("x"), { code })).code;
}

test("why a connection could not be opened", () => {
  assert.equal(failure("ENOENT"), "DAEMON_UNREACHABLE");
  assert.equal(failure("ECONNREFUSED"), "DAEMON_UNREACHABLE");
  assert.equal(failure("EACCES"), "SOCKET_FORBIDDEN");
});

test("given up when all was done already: it was done, and that is what is said", async () => {
  const { wire, requests } = setUp();
  const stream: StreamEnd = {
    opened: () => undefined,
    windowMoved: () => undefined,
    part: () => undefined,
    cut: () => undefined,
  };
  const stop = new AbortController();
  const call = requests.call("device.export", { name: "a" }, { signal: stop.signal }, stream);
  await turn();
  stop.abort();
  await turn();
  assert.equal(wire.sent.at(-1), encodeCancel(1));
  const done = { entries: 0, streamBytes: "1024", sha256: "0".repeat(64), left: 0 };
  wire.answer(encodeSuccess(1, "device.export", done));
  assert.deepEqual(await call, done);
  assert.equal(requests.inFlight, 0);
});
