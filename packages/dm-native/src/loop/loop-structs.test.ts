import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeLoopInfo,
  encodeLoopConfig,
  encodeLoopInfo,
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_DIRECT_IO,
  LOOP_CONFIG_BYTES,
  LOOP_INFO64_BYTES,
} from "./loop-structs.ts";

const SETTINGS = {
  offsetBytes: 1n << 40n,
  sizeLimitBytes: 4096n,
  flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
  fileName: "/var/lib/pool/data",
};

test("loop_info64 comes back as it was written", () => {
  const bytes = encodeLoopInfo(SETTINGS);
  assert.equal(bytes.length, LOOP_INFO64_BYTES);
  assert.deepEqual(decodeLoopInfo(bytes), { device: 0n, inode: 0n, number: 0, ...SETTINGS });
});

test("the fields stand where linux/loop.h has them", () => {
  const bytes = Buffer.alloc(LOOP_INFO64_BYTES);
  bytes.writeBigUInt64LE(2049n, 0);
  bytes.writeBigUInt64LE(77n, 8);
  bytes.writeUInt32LE(5, 40);
  bytes.writeUInt32LE(1, 52);
  const info = decodeLoopInfo(bytes);
  assert.equal(info.device, 2049n);
  assert.equal(info.inode, 77n);
  assert.equal(info.number, 5);
  assert.equal(info.flags, 1);
});

test("loop_config holds the descriptor, the block size, then loop_info64", () => {
  const bytes = encodeLoopConfig(9, 4096, SETTINGS);
  assert.equal(bytes.length, LOOP_CONFIG_BYTES);
  assert.equal(bytes.readUInt32LE(0), 9);
  assert.equal(bytes.readUInt32LE(4), 4096);
  assert.deepEqual(bytes.subarray(8, 8 + LOOP_INFO64_BYTES), encodeLoopInfo(SETTINGS));
  assert.ok(bytes.subarray(8 + LOOP_INFO64_BYTES).every((byte) => byte === 0));
});

test("a long file name is cut and keeps its NUL", () => {
  const info = decodeLoopInfo(encodeLoopInfo({ ...SETTINGS, fileName: "x".repeat(100) }));
  assert.equal(info.fileName, "x".repeat(63));
});

test("an answer of another size is refused", () => {
  assert.throws(() => decodeLoopInfo(Buffer.alloc(231)), { code: "NATIVE_PARSE" });
});
