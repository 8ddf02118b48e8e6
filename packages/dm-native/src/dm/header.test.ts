/** The byte layout, pinned against linux/dm-ioctl.h (offsetof on amd64 and arm64). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NativeError } from "../errors.ts";
import { dmName } from "../names.ts";
import { COMMANDS } from "./commands.ts";
import {
  DM_FLAG,
  HEADER_BYTES,
  decodeDev,
  decodeHeader,
  deviceInfo,
  encodeDev,
  encodeHeader,
} from "./header.ts";

const REQUEST = {
  version: { major: 4, minor: 1, patch: 2 },
  dataSizeBytes: 16_384,
  targetCount: 3,
  flags: DM_FLAG.NOFLUSH | DM_FLAG.SUSPEND,
  eventNr: 0xffff_0001,
  dev: 0x1234n,
  name: "vm\\x20one",
  uuid: "LVM-abc",
};

test("each field lies where the kernel's header has it", () => {
  const buffer = Buffer.alloc(HEADER_BYTES);
  encodeHeader(buffer, REQUEST);
  assert.equal(buffer.length, 312);
  assert.deepEqual(
    [0, 4, 8].map((at) => buffer.readUInt32LE(at)),
    [4, 1, 2],
  );
  assert.equal(buffer.readUInt32LE(12), 16_384, "data_size");
  assert.equal(buffer.readUInt32LE(16), 312, "data_start");
  assert.equal(buffer.readUInt32LE(20), 3, "target_count");
  assert.equal(buffer.readUInt32LE(28), 0x802, "flags");
  assert.equal(buffer.readUInt32LE(32), 0xffff_0001, "event_nr");
  assert.equal(buffer.readBigUInt64LE(40), 0x1234n, "dev");
  assert.equal(buffer.toString("latin1", 48, 58), "vm\\x20one\0", "name");
  assert.equal(buffer.toString("latin1", 176, 184), "LVM-abc\0", "uuid");
});

test("a header comes back as it went in, names unmangled", () => {
  const buffer = Buffer.alloc(HEADER_BYTES);
  encodeHeader(buffer, REQUEST);
  const header = decodeHeader(buffer);
  const { version, dataSizeBytes, targetCount, flags, eventNr, dev, name, uuid } = header;
  assert.deepEqual(
    { version, dataSizeBytes, targetCount, flags, eventNr, dev, name, uuid },
    REQUEST,
  );
  const info = deviceInfo(header);
  assert.equal(info.name, "vm one");
  assert.ok(info.suspended && !info.hasLiveTable && !info.readOnly);
});

function invalid(error: unknown): boolean {
  return error instanceof NativeError && error.code === "NATIVE_INVALID";
}

test("a name or uuid that does not fit is refused", () => {
  const buffer = Buffer.alloc(HEADER_BYTES);
  assert.throws(() => encodeHeader(buffer, { ...REQUEST, name: "x".repeat(128) }), invalid);
  assert.throws(() => encodeHeader(buffer, { ...REQUEST, uuid: "x".repeat(129) }), invalid);
  encodeHeader(buffer, { ...REQUEST, name: "x".repeat(127), uuid: "y".repeat(128) });
  assert.equal(decodeHeader(buffer).uuid, "y".repeat(128));
});

test("device numbers have the kernel's huge form", () => {
  for (const dev of [
    { major: 254, minor: 0 },
    { major: 7, minor: 255 },
    { major: 252, minor: 256 },
    { major: 4095, minor: 1_048_575 },
  ]) {
    assert.deepEqual(decodeDev(encodeDev(dev)), dev);
  }
  assert.equal(encodeDev({ major: 254, minor: 3 }), 0xfe03n);
  assert.equal(encodeDev({ major: 252, minor: 256 }), 0x10_fc00n);
});

test("requests are _IOWR(0xfd, n, 312), and 18 numbers are used", () => {
  assert.equal(COMMANDS.DM_VERSION.request, 0xc138_fd00);
  assert.equal(COMMANDS.DM_DEV_CREATE.request, 0xc138_fd03);
  assert.equal(COMMANDS.DM_TABLE_STATUS.request, 0xc138_fd0c);
  assert.equal(COMMANDS.DM_GET_TARGET_VERSION.request, 0xc138_fd11);
  const numbers = new Set(Object.values(COMMANDS).map((spec) => spec.request & 0xff));
  assert.deepEqual(
    [...numbers].toSorted((a, b) => a - b),
    Array.from({ length: 18 }, (_, n) => n),
  );
});

test("only remove, rename and resume carry a udev cookie", () => {
  const carriers = Object.entries(COMMANDS).filter(([, spec]) => spec.eventNr === "cookie");
  assert.deepEqual(
    carriers.map(([command]) => command),
    ["DM_DEV_REMOVE", "DM_DEV_RENAME", "DM_DEV_RESUME"],
  );
});

test("names: what is mangled and what is refused", () => {
  assert.throws(() => dmName(""), NativeError);
  assert.throws(() => dmName("a/b"), NativeError);
  assert.throws(() => dmName("a\0b"), NativeError);
  assert.throws(() => dmName("x".repeat(128)), NativeError);
  // A blank takes four bytes in the kernel's form.
  assert.throws(() => dmName(" ".repeat(32)), NativeError);
  assert.equal(dmName(" ".repeat(31)).length, 31);
});

test("a number that is no device's is refused: cut, it would be another device's", () => {
  assert.deepEqual(decodeDev(encodeDev({ major: 0xfff, minor: 0xf_ffff })), {
    major: 0xfff,
    minor: 0xf_ffff,
  });
  for (const [major, minor] of [
    [254, 1 << 20],
    [254, -1],
    [254, 0.5],
    [1 << 12, 0],
    [-1, 0],
  ] as const) {
    assert.throws(() => encodeDev({ major, minor }), { code: "NATIVE_INVALID" });
  }
});
