import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_REQUESTS_IN_FLIGHT,
  encodeFailure,
  encodeSuccess,
  errorCodeNames,
  errorCodes,
  errorObjectOf,
} from "@thinpool/protocol";
import type { Connection, ConnectionListener } from "./connection.ts";
import { chooseSocketPath, describeOpenFailure } from "./connection.ts";
import { errorFromWire, hasCode } from "./errors.ts";
import { Requests } from "./requests.ts";

/** A connection whose other end is the test. */
class Wire implements Connection {
  readonly sent: string[] = [];
  listener: ConnectionListener | undefined;
  send(text: string): void {
    this.sent.push(text);
  }
  async close(): Promise<void> {
    this.listener?.lost("closed");
  }
  listen(listener: ConnectionListener): void {
    this.listener = listener;
  }
  answer(text: string): void {
    this.listener?.message(text);
  }
}

function setUp(timeoutMs = 1_000): { wire: Wire; requests: Requests } {
  const wire = new Wire();
  return { wire, requests: new Requests(wire, timeoutMs) };
}

test("answers find their requests in any order", async () => {
  const { wire, requests } = setUp();
  const first = requests.call("device.remove", { name: "a" });
  const second = requests.call("mount.list", {});
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

test("a cut fails all that waits with CONNECTION_LOST, and sends nothing again", async () => {
  const { wire, requests } = setUp();
  const calls = [requests.call("pool.status", {}), requests.call("device.remove", { name: "a" })];
  wire.listener?.lost("the connection was cut");
  for (const call of calls) {
    await assert.rejects(call, (error) => hasCode(error, "CONNECTION_LOST"));
  }
  await assert.rejects(requests.call("pool.status", {}), (error) =>
    hasCode(error, "CONNECTION_LOST"),
  );
  assert.equal(wire.sent.length, 2);
});

test("time limit and signal end a request; its late answer is dropped", async () => {
  const { wire, requests } = setUp(20);
  const slow = requests.call("pool.status", {});
  const controller = new AbortController();
  const aborted = requests.call("mount.list", {}, { signal: controller.signal, timeoutMs: 5_000 });
  controller.abort(new Error("enough"));
  await assert.rejects(aborted, (error) => hasCode(error, "ABORTED"));
  await assert.rejects(slow, (error) => hasCode(error, "TIMEOUT"));
  wire.answer(encodeSuccess(2, "mount.list", []));
  assert.equal(requests.inFlight, 0);
  const before = requests.call("mount.list", {}, { signal: controller.signal });
  await assert.rejects(before, (error) => hasCode(error, "ABORTED"));
  assert.equal(wire.sent.length, 2);
});

test("no more requests in flight than the protocol allows", async () => {
  const { wire, requests } = setUp();
  const calls = Array.from({ length: MAX_REQUESTS_IN_FLIGHT }, () =>
    requests.call("mount.list", {}),
  );
  await assert.rejects(requests.call("mount.list", {}), (error) => hasCode(error, "LIMIT"));
  for (let id = 1; id <= calls.length; id += 1) wire.answer(encodeSuccess(id, "mount.list", []));
  await Promise.all(calls);
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
  wire.answer(JSON.stringify({ jsonrpc: "2.0", id: 1, result: [{}] }));
  await assert.rejects(misfit, (error) => hasCode(error, "PROTOCOL"));
  const waiting = requests.call("mount.list", {});
  wire.answer("{");
  await assert.rejects(waiting, (error) => hasCode(error, "PROTOCOL"));
});

test("closing fails what waits with CLIENT_CLOSED", async () => {
  const { requests } = setUp();
  const waiting = requests.call("mount.list", {});
  await Promise.all([
    requests.close(10),
    assert.rejects(waiting, (error) => hasCode(error, "CLIENT_CLOSED")),
  ]);
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
