/** Layouts pinned against linux/dm-ioctl.h; what the kernel wrote is imitated byte by byte. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NativeError } from "../errors.ts";
import { sectors } from "../units.ts";
import {
  decodeDependencies,
  decodeDeviceList,
  decodeTargetVersions,
  decodeTargets,
  encodeMessage,
  encodeTable,
} from "./table-codec.ts";

const LINEAR = {
  startSectors: sectors(0),
  lengthSectors: sectors(2048),
  type: "linear",
  params: "7:0 4096",
};
const ZERO = {
  startSectors: sectors(2048),
  lengthSectors: sectors(8),
  type: "zero",
  params: "",
};

const is =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof NativeError && error.code === code;

/** Rewrites `next` from "since this spec" (load) to "since the first spec" (status). */
function asReply(table: Buffer): Buffer {
  const reply = Buffer.from(table);
  let offset = 0;
  while (offset < reply.length) {
    offset += reply.readUInt32LE(offset + 20);
    reply.writeUInt32LE(offset, previous(reply, offset) + 20);
  }
  return reply;
}

function previous(reply: Buffer, end: number): number {
  let offset = 0;
  for (;;) {
    const next = reply.readUInt32LE(offset + 20);
    if (next >= end || next <= offset) return offset;
    if (offset + next === end) return offset;
    offset = next;
  }
}

test("a target is 40 bytes and its text, padded to 8", () => {
  const table = encodeTable([LINEAR, ZERO]);
  // 40 + "7:0 4096\0" = 49 -> 56; 40 + "\0" = 41 -> 48.
  assert.equal(table.length, 56 + 48);
  assert.equal(table.readBigUInt64LE(0), 0n);
  assert.equal(table.readBigUInt64LE(8), 2048n);
  assert.equal(table.readUInt32LE(20), 56, "next counts from its own spec");
  assert.equal(table.toString("latin1", 24, 31), "linear\0");
  assert.equal(table.toString("latin1", 40, 49), "7:0 4096\0");
  assert.equal(table.readBigUInt64LE(56), 2048n);
  assert.equal(table.readUInt32LE(56 + 20), 48);
});

test("a table comes back as it went in, also without the last padding", () => {
  const reply = asReply(encodeTable([LINEAR, ZERO]));
  assert.deepEqual(decodeTargets(reply, 2), [LINEAR, ZERO]);
  assert.deepEqual(decodeTargets(reply.subarray(0, 56 + 41), 2), [LINEAR, ZERO]);
  assert.deepEqual(decodeTargets(Buffer.alloc(0), 0), []);
});

test("a truncated or looping reply is refused, not read past", () => {
  const reply = asReply(encodeTable([LINEAR, ZERO]));
  assert.throws(() => decodeTargets(reply, 3), is("NATIVE_PARSE"));
  assert.throws(() => decodeTargets(reply.subarray(0, 30), 1), is("NATIVE_PARSE"));
  reply.writeUInt32LE(0, 20);
  assert.throws(() => decodeTargets(reply, 2), is("NATIVE_PARSE"));
});

function broken(change: Partial<typeof LINEAR>): () => Buffer {
  return () => encodeTable([{ ...LINEAR, ...change }]);
}

test("types and texts that the kernel can't take are refused", () => {
  assert.throws(broken({ type: "" }), is("NATIVE_INVALID"));
  assert.throws(broken({ type: "x".repeat(16) }), is("NATIVE_INVALID"));
  assert.throws(broken({ params: "a\0b" }), is("NATIVE_INVALID"));
  assert.throws(() => encodeMessage(sectors(0), "  "), is("NATIVE_INVALID"));
  assert.throws(() => encodeMessage(sectors(0), "a\0"), is("NATIVE_INVALID"));
});

test("a message is its sector and its text", () => {
  const message = encodeMessage(sectors(7), "delete 3");
  assert.equal(message.readBigUInt64LE(0), 7n);
  assert.equal(message.toString("latin1", 8), "delete 3\0");
});

function listRecord(
  dev: bigint,
  name: string,
  eventNr: number,
  uuid: string,
  last: boolean,
): Buffer {
  const tail = Math.ceil((12 + name.length + 1) / 8) * 8;
  const size = Math.ceil((tail + 8 + (uuid === "" ? 0 : uuid.length + 1)) / 8) * 8;
  const record = Buffer.alloc(size);
  record.writeBigUInt64LE(dev, 0);
  record.writeUInt32LE(last ? 0 : size, 8);
  record.write(name, 12, "latin1");
  record.writeUInt32LE(eventNr, tail);
  record.writeUInt32LE(uuid === "" ? 2 : 1, tail + 4);
  record.write(uuid, tail + 8, "latin1");
  return record;
}

test("a list carries event numbers from 4.37 on, and uuids where flagged", () => {
  const data = Buffer.concat([
    listRecord(0xfe00n, "a\\x20b", 3, "UUID-1", false),
    listRecord(0xfe01n, "plain", 9, "", true),
  ]);
  const version = { major: 4, minor: 45, patch: 0 };
  assert.deepEqual(decodeDeviceList(data, version), [
    { name: "a b", dev: { major: 254, minor: 0 }, eventNr: 3, uuid: "UUID-1" },
    { name: "plain", dev: { major: 254, minor: 1 }, eventNr: 9, uuid: undefined },
  ]);
  const old = decodeDeviceList(data, { ...version, minor: 36 });
  assert.deepEqual(
    old.map((entry) => entry.eventNr),
    [undefined, undefined],
  );
  assert.deepEqual(decodeDeviceList(Buffer.alloc(16), version), []);
  assert.deepEqual(decodeDeviceList(Buffer.alloc(0), version), []);
  data.writeUInt32LE(4, 8);
  assert.throws(() => decodeDeviceList(data, version), is("NATIVE_PARSE"));
});

test("target versions and dependencies", () => {
  const record = Buffer.alloc(24);
  record.writeUInt32LE(1, 4);
  record.writeUInt32LE(22, 8);
  record.write("linear", 16, "latin1");
  assert.deepEqual(decodeTargetVersions(record), [
    { type: "linear", major: 1, minor: 22, patch: 0 },
  ]);
  const deps = Buffer.alloc(16);
  deps.writeUInt32LE(1, 0);
  deps.writeBigUInt64LE(0x0702n, 8);
  assert.deepEqual(decodeDependencies(deps), [{ major: 7, minor: 2 }]);
  deps.writeUInt32LE(2, 0);
  assert.throws(() => decodeDependencies(deps), is("NATIVE_PARSE"));
});
