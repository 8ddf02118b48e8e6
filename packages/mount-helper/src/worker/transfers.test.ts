/** Streams as the worker has them: windows kept by both ends, cuts, takeovers, standing still. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { KnownRequest, StreamFrame } from "@thinpool/protocol";
import { MAX_STREAM_PAYLOAD_BYTES, STREAM_WINDOW_BYTES } from "@thinpool/protocol";
import { callSha256 } from "../idempotency/call-identity.ts";
import type { ToBack, TransferOutcome } from "../server/channel.ts";
import { checkToBack } from "../server/channel.ts";
import { archiveOf } from "../tar/archive.test.support.ts";
import type { Flow, StreamPort } from "./stream-port.ts";
import { Transfers } from "./transfers.ts";

const parent = await mkdtemp(join(tmpdir(), "transfers-"));
after(() => rm(parent, { recursive: true }));
const KEY = "key-1";
let folders = 0;

function folder(): string {
  folders += 1;
  const path = join(parent, String(folders));
  mkdirSync(path);
  return path;
}

/** One connection's end, as the session makes it. */
class Port implements StreamPort {
  readonly frames: Omit<StreamFrame, "stream">[] = [];
  readonly windows: { readonly taken: number; readonly window: number }[] = [];
  openedAt: { readonly offset: number; readonly window: number } | undefined;
  closed = false;
  flow: Flow | undefined;
  opened(at: { readonly offset: number; readonly window: number }): void {
    this.openedAt = at;
  }
  window(at: { readonly taken: number; readonly window: number }): void {
    this.windows.push(at);
  }
  send(frame: Omit<StreamFrame, "stream">): void {
    this.frames.push(frame);
  }
  close(): void {
    this.closed = true;
  }
  get sentBytes(): number {
    return this.frames.reduce((sum, { payload }) => sum + payload.length, 0);
  }
}

interface World {
  readonly transfers: Transfers;
  readonly outcomes: Map<number, TransferOutcome>;
  /** A request comes by this connection. */
  ask(connection: number, options?: { readonly key?: string; readonly name?: string }): Port;
  begin(
    direction: "to-daemon" | "to-client",
    path: string,
    options?: { readonly key?: string; readonly maxBytes?: number },
  ): void;
  outcome(): Promise<TransferOutcome>;
}

function requestOf(key: string | undefined, name = "x"): KnownRequest {
  return { id: 7, method: "device.import", params: { name }, key };
}

function world(times: { readonly graceMs?: number; readonly idleMs?: number } = {}): World {
  const outcomes = new Map<number, TransferOutcome>();
  const transfers = new Transfers(
    (message: ToBack) => {
      // What the back will read of it.
      assert.deepEqual(checkToBack(JSON.parse(JSON.stringify(message))), message);
      if (message.type === "transferred") outcomes.set(message.transfer, message.outcome);
    },
    { graceMs: times.graceMs ?? 60_000, idleMs: times.idleMs ?? 60_000 },
  );
  return {
    transfers,
    outcomes,
    ask: (connection, { key = KEY, name } = {}) => {
      const port = new Port();
      const request = requestOf(key === "" ? undefined : key, name);
      transfers.asked(request, connection, (flow) => {
        port.flow = flow;
        return port;
      });
      return port;
    },
    begin: (direction, path, { key = KEY, maxBytes } = {}) => {
      const request = requestOf(key === "" ? undefined : key);
      transfers.begin({
        ...{ type: "transfer", connection: 1, id: 7, key: request.key, transfer: 1 },
        ...{ callSha256: callSha256(request), direction, path, maxBytes },
      });
    },
    outcome: async () => {
      await until(() => outcomes.size > 0);
      return outcomes.get(1) ?? assert.fail();
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, "it did not come to that");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function part(port: Port, bytes: Uint8Array, offset: number, kind: "data" | "end" = "data"): void {
  port.flow?.receive({ stream: 1, kind, offset: BigInt(offset), payload: bytes });
}

/** Sends what the window lets, from `from` on, as a client does. */
async function sendAll(port: Port, archive: Buffer, from = 0): Promise<void> {
  let sent = from;
  while (sent < archive.length) {
    const window = port.windows.at(-1)?.window ?? port.openedAt?.window ?? 0;
    const end = Math.min(archive.length, window, sent + MAX_STREAM_PAYLOAD_BYTES);
    if (end > sent) part(port, archive.subarray(sent, end), sent);
    else await new Promise((resolve) => setTimeout(resolve, 1));
    sent = Math.max(sent, end);
  }
  part(port, new Uint8Array(), archive.length, "end");
}

const LARGE = archiveOf({ path: "a/file", body: Buffer.alloc(3 * STREAM_WINDOW_BYTES, "x") });

test("a stream longer than the window goes through it, and its outcome is told once", async () => {
  const w = world();
  const path = folder();
  const port = w.ask(1);
  w.begin("to-daemon", path);
  assert.deepEqual(port.openedAt, { offset: 0, window: STREAM_WINDOW_BYTES });
  await sendAll(port, LARGE);
  const outcome = await w.outcome();
  assert.ok(outcome.ok);
  assert.deepEqual([outcome.entries, outcome.streamBytes], [1, LARGE.length]);
  assert.ok(port.windows.every(({ taken, window }) => window === taken + STREAM_WINDOW_BYTES));
  assert.equal(port.closed, true);
  assert.ok(existsSync(join(path, "a/file")));
});

test("what does not keep to offset and window ends the stream", async () => {
  const bytes = LARGE.subarray(0, MAX_STREAM_PAYLOAD_BYTES);
  const beyond = (port: Port): void => {
    // In one turn of the event loop nothing is taken.
    const size = MAX_STREAM_PAYLOAD_BYTES;
    for (let at = 0; at <= STREAM_WINDOW_BYTES; at += size) part(port, bytes, at);
  };
  const wrongs: readonly ((port: Port) => void)[] = [
    (port) => part(port, bytes, 1),
    (port) => {
      part(port, bytes, 0);
      part(port, bytes, 0);
    },
    beyond,
    (port) => part(port, new Uint8Array(), 5, "end"),
    (port) => {
      part(port, new Uint8Array(), 0, "end");
      part(port, bytes, 0);
    },
    (port) => port.flow?.windowMoved({ taken: "0", window: "1" }),
  ];
  for (const wrong of wrongs) {
    const w = world();
    const port = w.ask(1);
    w.begin("to-daemon", folder());
    wrong(port);
    const outcome = await w.outcome();
    assert.ok(!outcome.ok && outcome.code === "INVALID_REQUEST", String(wrong));
  }
});

test("to a client goes what its window lets, and no more is read ahead than the window", async () => {
  const w = world();
  const path = folder();
  const size = 4 * STREAM_WINDOW_BYTES;
  writeFileSync(join(path, "file"), Buffer.alloc(size, "y"));
  const port = w.ask(1);
  w.begin("to-client", path);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(port.sentBytes, 0, "nothing goes before the client has said where it is");
  port.flow?.windowMoved({ taken: "0", window: "1000" });
  await until(() => port.sentBytes > 0);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(port.sentBytes, 1000);
  // A window without end: what is not taken is not read on.
  const endless = String(Number.MAX_SAFE_INTEGER);
  port.flow?.windowMoved({ taken: "0", window: endless });
  await until(() => port.sentBytes >= STREAM_WINDOW_BYTES);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.ok(port.sentBytes < STREAM_WINDOW_BYTES + MAX_STREAM_PAYLOAD_BYTES);
  const isOver = (): boolean => port.frames.at(-1)?.kind === "end";
  while (!isOver()) {
    port.flow?.windowMoved({ taken: String(port.sentBytes), window: endless });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(w.outcomes.size, 0, "it is not over before the client has taken all");
  port.flow?.windowMoved({ taken: String(port.sentBytes), window: endless });
  const outcome = await w.outcome();
  assert.ok(outcome.ok && outcome.streamBytes === port.sentBytes);
  let next = 0n;
  for (const { offset, payload } of port.frames) {
    assert.equal(offset, next);
    next += BigInt(payload.length);
  }
});

test("a stream that is longer than there is room for ends there, by its code", async () => {
  const w = world();
  const port = w.ask(1);
  w.begin("to-daemon", folder(), { maxBytes: LARGE.length - 1 });
  await sendAll(port, LARGE);
  const outcome = await w.outcome();
  assert.ok(!outcome.ok && outcome.code === "NO_SPACE");
  const just = world();
  const other = just.ask(1);
  just.begin("to-daemon", folder(), { maxBytes: LARGE.length });
  await sendAll(other, LARGE);
  assert.ok((await just.outcome()).ok);
});

test("after a cut a client's stream goes on where it was, by the connection that has the key", async () => {
  const w = world();
  const first = w.ask(1);
  w.begin("to-daemon", folder());
  const cutAt = MAX_STREAM_PAYLOAD_BYTES * 3;
  for (let at = 0; at < cutAt; at += MAX_STREAM_PAYLOAD_BYTES) {
    part(first, LARGE.subarray(at, at + MAX_STREAM_PAYLOAD_BYTES), at);
  }
  w.transfers.closed(1);
  const other = w.ask(2, { name: "another" });
  assert.equal(other.openedAt, undefined, "another call with the same key");
  const second = w.ask(3);
  assert.equal(second.openedAt?.offset, cutAt);
  await sendAll(second, LARGE, cutAt);
  const outcome = await w.outcome();
  assert.ok(outcome.ok && outcome.streamBytes === LARGE.length);
});

test("after a cut a client gets again what it has not taken", async () => {
  const w = world();
  const path = folder();
  writeFileSync(join(path, "file"), Buffer.alloc(5 * MAX_STREAM_PAYLOAD_BYTES, "z"));
  const first = w.ask(1);
  w.begin("to-client", path);
  const endless = String(Number.MAX_SAFE_INTEGER);
  first.flow?.windowMoved({ taken: "0", window: endless });
  await until(() => first.frames.at(-1)?.kind === "end");
  w.transfers.closed(1);
  const second = w.ask(2);
  const taken = MAX_STREAM_PAYLOAD_BYTES + 10;
  second.flow?.windowMoved({ taken: String(taken), window: endless });
  await until(() => second.frames.at(-1)?.kind === "end");
  const bytes = (port: Port): Buffer => Buffer.concat(port.frames.map(({ payload }) => payload));
  assert.deepEqual(bytes(second), bytes(first).subarray(taken));
  // And by a third one not what it has said to have.
  w.transfers.closed(2);
  const third = w.ask(3);
  third.flow?.windowMoved({ taken: "0", window: endless });
  const outcome = await w.outcome();
  assert.ok(!outcome.ok && outcome.code === "STREAM_LOST");
});

test("a connection takes a stream over while the one before still looks alive", async () => {
  const w = world();
  const first = w.ask(1);
  w.begin("to-daemon", folder());
  const second = w.ask(2);
  assert.deepEqual([first.closed, second.openedAt?.offset], [true, 0]);
  // Its end is no end of the stream's.
  w.transfers.closed(1);
  await sendAll(second, LARGE);
  assert.ok((await w.outcome()).ok);
});

test("nobody comes again, or there is no key: it is given up", async () => {
  for (const direction of ["to-daemon", "to-client"] as const) {
    const late = world({ graceMs: 20 });
    late.ask(1);
    late.begin(direction, folder());
    late.transfers.closed(1);
    const outcome = await late.outcome();
    assert.ok(!outcome.ok && outcome.code === "STREAM_LOST");
    assert.match(outcome.reason, /within 20 ms/);
    const keyless = world();
    keyless.ask(1, { key: "" });
    keyless.begin(direction, folder(), { key: "" });
    keyless.transfers.closed(1);
    const at = await keyless.outcome();
    assert.ok(!at.ok && at.code === "STREAM_LOST");
    // Its connection was gone before it began.
    const gone = world({ graceMs: 20 });
    gone.begin(direction, folder());
    const never = await gone.outcome();
    assert.ok(!never.ok && never.code === "STREAM_LOST");
  }
});

test("a client that does nothing, though it could, is given up", async () => {
  for (const direction of ["to-daemon", "to-client"] as const) {
    const w = world({ idleMs: 20 });
    w.ask(1);
    w.begin(direction, folder());
    const outcome = await w.outcome();
    assert.ok(!outcome.ok && outcome.code === "TIMEOUT", direction);
  }
});

test("cancelled, withdrawn, ended: each with its own code", async () => {
  const ends = [
    ["CANCELLED", (w: World) => w.transfers.cancelled(1, 7)],
    ["UNAVAILABLE", (w: World) => w.transfers.withdraw(1)],
    ["STREAM_LOST", (w: World) => w.transfers.end()],
  ] as const;
  for (const [code, end] of ends) {
    for (const direction of ["to-daemon", "to-client"] as const) {
      const w = world();
      w.ask(1);
      w.begin(direction, folder());
      end(w);
      const outcome = await w.outcome();
      assert.ok(!outcome.ok && outcome.code === code, code);
    }
  }
});
