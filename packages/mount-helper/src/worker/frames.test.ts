import assert from "node:assert/strict";
import { test } from "node:test";
import type { Frame } from "./frames.ts";
import { FrameReader, encodeFrame } from "./frames.ts";

const LIMIT = 1024;

function readAll(chunks: readonly Buffer[]): readonly Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader(LIMIT, (frame) => frames.push(frame));
  for (const chunk of chunks) reader.push(chunk);
  return frames;
}

test("frames come back whole, however the socket cuts them", () => {
  const sent: readonly Frame[] = [
    { head: { type: "answer", connection: 1 }, body: '{"jsonrpc":"2.0","id":1}' },
    { head: { type: "ping" }, body: "" },
    { head: { name: "ä€😀" }, body: "ä€😀" },
  ];
  const bytes = Buffer.concat(sent.map(({ head, body }) => encodeFrame(head, body)));
  for (let size = 1; size <= bytes.length; size += 1) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    assert.deepEqual(readAll(chunks), sent, `${size} bytes at a time`);
  }
});

test("a frame over the limit is refused by its length alone, before it is there", () => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(LIMIT + 1);
  assert.throws(() => readAll([length]), /1025 bytes/);
  length.writeUInt32LE(0xffff_ffff);
  assert.throws(() => readAll([length]), /4294967295 bytes/);
  length.writeUInt32LE(LIMIT);
  assert.deepEqual(readAll([length]), []);
});

test("a frame that is none is refused: no head, a head beyond its end, no JSON", () => {
  const short = Buffer.alloc(4);
  short.writeUInt32LE(3);
  assert.throws(() => readAll([short]), /3 bytes/);
  const beyond = encodeFrame({});
  beyond.writeUInt32LE(3, 4);
  assert.throws(() => readAll([beyond]), /longer than itself/);
  const broken = encodeFrame({});
  broken.write("{{", 8);
  assert.throws(() => readAll([broken]), SyntaxError);
});
