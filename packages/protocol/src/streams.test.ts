import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_REQUEST_BYTES,
  MAX_STREAM_PAYLOAD_BYTES,
  STREAM_HEADER_BYTES,
  encodeStreamFrame,
  encodeStreamWindow,
  parseClientMessage,
  parseStreamFrame,
} from "./index.ts";

const payload = new Uint8Array([1, 2, 3]);

test("a part comes back as it was encoded, and the longest fits where a request does", () => {
  const frame = { stream: 0xffff_fffe, kind: "data", offset: (1n << 53n) + 1n, payload } as const;
  assert.deepEqual(parseStreamFrame(encodeStreamFrame(frame)), { ok: true, value: frame });
  // As docs/PROTOCOL.md has it: the document is all that other clients have.
  const bytes = encodeStreamFrame({ stream: 0x01020304, kind: "data", offset: 0x0506n, payload });
  assert.deepEqual([...bytes], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 1, 2, 3]);
  const end = { stream: 1, kind: "end", offset: 7n, payload: new Uint8Array() } as const;
  assert.equal(encodeStreamFrame(end)[4], 1);
  assert.deepEqual(parseStreamFrame(encodeStreamFrame(end)), { ok: true, value: end });
  assert.ok(STREAM_HEADER_BYTES + MAX_STREAM_PAYLOAD_BYTES <= MAX_REQUEST_BYTES);
});

test("a view into a larger buffer is read from where it begins", () => {
  const bytes = encodeStreamFrame({ stream: 1, kind: "data", offset: 9n, payload });
  const parsed = parseStreamFrame(Buffer.concat([Buffer.alloc(5), bytes]).subarray(5));
  assert.ok(parsed.ok);
  assert.deepEqual([parsed.value.offset, [...parsed.value.payload]], [9n, [1, 2, 3]]);
});

test("what is no part is refused", () => {
  const refused = (change: (bytes: Uint8Array) => Uint8Array, reason: RegExp): void => {
    const bytes = encodeStreamFrame({ stream: 1, kind: "data", offset: 0n, payload });
    const parsed = parseStreamFrame(change(bytes));
    assert.ok(!parsed.ok);
    assert.equal(parsed.code, "INVALID_REQUEST");
    assert.match(parsed.reason, reason);
  };
  const set = (at: number, value: number) => (bytes: Uint8Array) => bytes.fill(value, at, at + 1);
  refused((bytes) => bytes.subarray(0, STREAM_HEADER_BYTES - 1), /no header/);
  refused(() => new Uint8Array(), /no header/);
  refused((bytes) => bytes.subarray(0, STREAM_HEADER_BYTES), /without a payload/);
  refused(set(4, 1), /an end with a payload/);
  refused(set(4, 2), /kind 2/);
  refused(set(7, 1), /must be zero/);
  const large = new Uint8Array(MAX_STREAM_PAYLOAD_BYTES + 1);
  refused(
    () => encodeStreamFrame({ stream: 1, kind: "data", offset: 0n, payload: large }),
    /at most/,
  );
});

test("a client's window comes back as it was encoded; one that is none is refused", () => {
  const window = { stream: 3, taken: "5", window: "1048581" };
  assert.deepEqual(parseClientMessage(encodeStreamWindow(window)), {
    ok: true,
    value: { type: "window", window },
  });
  for (const wrong of [{ stream: 0 }, { taken: 5 }, { window: "-1" }]) {
    const parsed = parseClientMessage(
      JSON.stringify({
        jsonrpc: "2.0",
        method: "stream.window",
        params: { ...window, ...wrong },
      }),
    );
    assert.ok(!parsed.ok && parsed.code === "INVALID_PARAMS");
  }
});
