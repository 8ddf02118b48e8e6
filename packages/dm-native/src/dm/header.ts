/**
 * struct dm_ioctl of linux/dm-ioctl.h: 312 bytes at the start of every command's buffer.
 * Numbers are in the machine's order; Linux on amd64 and arm64 is little-endian.
 */
import type { DevNumber } from "../dev-number.ts";
import { NativeError } from "../errors.ts";
import { unmangle } from "../names.ts";
import type { DmName, DmUuid } from "../names.ts";
import type { DmDeviceInfo, DmVersion } from "./device-mapper.ts";

export const HEADER_BYTES = 312;

const OFFSET_VERSION = 0;
const OFFSET_DATA_SIZE = 12;
const OFFSET_DATA_START = 16;
const OFFSET_TARGET_COUNT = 20;
const OFFSET_OPEN_COUNT = 24;
const OFFSET_FLAGS = 28;
const OFFSET_EVENT_NR = 32;
const OFFSET_DEV = 40;
const OFFSET_NAME = 48;
const OFFSET_UUID = 176;
/** DM_NAME_LEN and DM_UUID_LEN, the NUL included. */
const NAME_BYTES = 128;
const UUID_BYTES = 129;

/** The flags of linux/dm-ioctl.h by their names there. */
export const DM_FLAG = {
  READONLY: 0x1,
  SUSPEND: 0x2,
  PERSISTENT_DEV: 0x8,
  STATUS_TABLE: 0x10,
  ACTIVE_PRESENT: 0x20,
  INACTIVE_PRESENT: 0x40,
  BUFFER_FULL: 0x100,
  SKIP_LOCKFS: 0x400,
  NOFLUSH: 0x800,
  QUERY_INACTIVE_TABLE: 0x1000,
  UEVENT_GENERATED: 0x2000,
  UUID: 0x4000,
  DATA_OUT: 0x10000,
  DEFERRED_REMOVE: 0x20000,
  INTERNAL_SUSPEND: 0x40000,
} as const;

/** A request's header. Texts are in the kernel's form (mangled), or empty. */
export interface RequestHeader {
  readonly version: DmVersion;
  /** Of the whole buffer. */
  readonly dataSizeBytes: number;
  readonly targetCount: number;
  readonly flags: number;
  readonly eventNr: number;
  readonly dev: bigint;
  readonly name: string;
  readonly uuid: string;
}

export interface ReplyHeader {
  readonly version: DmVersion;
  readonly dataSizeBytes: number;
  readonly dataStart: number;
  readonly targetCount: number;
  readonly openCount: number;
  readonly flags: number;
  readonly eventNr: number;
  readonly dev: bigint;
  readonly name: string;
  readonly uuid: string;
}

function writeText(buffer: Buffer, offset: number, limitBytes: number, text: string): void {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length >= limitBytes || bytes.includes(0)) {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "encoding of struct dm_ioctl",
      object: JSON.stringify(text),
      reason: `it is longer than ${limitBytes - 1} bytes or holds a NUL`,
      hint: "Make names by dmName() and uuids by dmUuid().",
    });
  }
  bytes.copy(buffer, offset);
}

/** The text up to the first NUL, at most `limitBytes`. */
export function readText(buffer: Buffer, offset: number, limitBytes: number): string {
  const field = buffer.subarray(offset, offset + limitBytes);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? field.length : end);
}

/** Writes the header; `buffer` is zeroed and at least HEADER_BYTES long. */
export function encodeHeader(buffer: Buffer, header: RequestHeader): void {
  buffer.writeUInt32LE(header.version.major, OFFSET_VERSION);
  buffer.writeUInt32LE(header.version.minor, OFFSET_VERSION + 4);
  buffer.writeUInt32LE(header.version.patch, OFFSET_VERSION + 8);
  buffer.writeUInt32LE(header.dataSizeBytes, OFFSET_DATA_SIZE);
  buffer.writeUInt32LE(HEADER_BYTES, OFFSET_DATA_START);
  buffer.writeUInt32LE(header.targetCount, OFFSET_TARGET_COUNT);
  buffer.writeUInt32LE(header.flags >>> 0, OFFSET_FLAGS);
  buffer.writeUInt32LE(header.eventNr >>> 0, OFFSET_EVENT_NR);
  buffer.writeBigUInt64LE(header.dev, OFFSET_DEV);
  writeText(buffer, OFFSET_NAME, NAME_BYTES, header.name);
  writeText(buffer, OFFSET_UUID, UUID_BYTES, header.uuid);
}

export function decodeHeader(buffer: Buffer): ReplyHeader {
  return {
    version: {
      major: buffer.readUInt32LE(OFFSET_VERSION),
      minor: buffer.readUInt32LE(OFFSET_VERSION + 4),
      patch: buffer.readUInt32LE(OFFSET_VERSION + 8),
    },
    dataSizeBytes: buffer.readUInt32LE(OFFSET_DATA_SIZE),
    dataStart: buffer.readUInt32LE(OFFSET_DATA_START),
    targetCount: buffer.readUInt32LE(OFFSET_TARGET_COUNT),
    openCount: buffer.readInt32LE(OFFSET_OPEN_COUNT),
    flags: buffer.readUInt32LE(OFFSET_FLAGS),
    eventNr: buffer.readUInt32LE(OFFSET_EVENT_NR),
    dev: buffer.readBigUInt64LE(OFFSET_DEV),
    name: readText(buffer, OFFSET_NAME, NAME_BYTES),
    uuid: readText(buffer, OFFSET_UUID, UUID_BYTES),
  };
}

/** Cut to its bits, another number would name another device. */
function checkDevPart(part: "major" | "minor", value: number, maximum: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= maximum) return;
  throw new NativeError({
    code: "NATIVE_INVALID",
    operation: "encoding of struct dm_ioctl",
    object: `${part} ${value}`,
    reason: "it is no device number",
    hint: `Use an integer from 0 to ${maximum}.`,
  });
}

/** linux/kdev_t.h, huge_encode_dev: 12 bits major, 20 bits minor; glibc's dev_t has the same form. */
export function encodeDev(dev: DevNumber): bigint {
  checkDevPart("major", dev.major, 0xfff);
  checkDevPart("minor", dev.minor, 0xf_ffff);
  const low = (dev.minor & 0xff) | ((dev.major & 0xfff) << 8);
  return BigInt(low) | (BigInt(dev.minor & 0xfff00) << 12n);
}

export function decodeDev(encoded: bigint): DevNumber {
  return {
    major: Number((encoded & 0xfff00n) >> 8n),
    minor: Number((encoded & 0xffn) | ((encoded >> 12n) & 0xfff00n)),
  };
}

/**
 * The kernel's form of a name, as a person writes it. What the kernel holds is valid by its own
 * rules, so it is not checked again: one odd name of somebody else must not spoil a whole list.
 */
export function nameFromKernel(text: string): DmName {
  return unmangle(text) as DmName;
}

export function uuidFromKernel(text: string): DmUuid | undefined {
  return text === "" ? undefined : (unmangle(text) as DmUuid);
}

export function deviceInfo(header: ReplyHeader): DmDeviceInfo {
  const has = (flag: number): boolean => (header.flags & flag) !== 0;
  return {
    name: nameFromKernel(header.name),
    uuid: uuidFromKernel(header.uuid),
    dev: decodeDev(header.dev),
    openCount: header.openCount,
    eventNr: header.eventNr,
    targetCount: header.targetCount,
    suspended: has(DM_FLAG.SUSPEND),
    internallySuspended: has(DM_FLAG.INTERNAL_SUSPEND),
    readOnly: has(DM_FLAG.READONLY),
    hasLiveTable: has(DM_FLAG.ACTIVE_PRESENT),
    hasInactiveTable: has(DM_FLAG.INACTIVE_PRESENT),
    deferredRemove: has(DM_FLAG.DEFERRED_REMOVE),
  };
}
