/** What follows the header: tables, status lines, lists. Layouts are those of linux/dm-ioctl.h. */
import type { DevNumber } from "../dev-number.ts";
import { NativeError } from "../errors.ts";
import { sectors } from "../units.ts";
import type { Sectors } from "../units.ts";
import type { DmListEntry, DmTarget, DmTargetVersion, DmVersion } from "./device-mapper.ts";
import { decodeDev, nameFromKernel, readText, uuidFromKernel } from "./header.ts";

/** struct dm_target_spec: u64 start, u64 length, s32 status, u32 next, char type[16]. */
const SPEC_BYTES = 40;
const SPEC_LENGTH = 8;
const SPEC_NEXT = 20;
const SPEC_TYPE = 24;
/** DM_MAX_TYPE_NAME, the NUL included. */
const TYPE_BYTES = 16;
const ALIGNMENT_BYTES = 8;
/** struct dm_name_list: u64 dev, u32 next, the name. */
const LIST_NEXT = 8;
const LIST_NAME = 12;
const LIST_HAS_UUID = 1;
/** struct dm_target_versions: u32 next, u32 version[3], the name. */
const VERSIONS_NAME = 16;
/** struct dm_target_deps: u32 count, u32 padding, u64 dev[]. */
const DEPS_FIRST = 8;
/** From this interface on a list entry carries the event number (dm-ioctl.h 4.37). */
const EVENT_NR_IN_LIST_MINOR = 37;

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

function invalid(object: string, reason: string, hint: string): NativeError {
  return new NativeError({
    code: "NATIVE_INVALID",
    operation: "encoding of a dm request",
    object,
    reason,
    hint,
  });
}

function malformed(what: string, reason: string): NativeError {
  return new NativeError({
    code: "NATIVE_PARSE",
    operation: `decoding of ${what}`,
    object: "the kernel's reply",
    reason,
    hint: "Report this with the kernel's version (uname -r).",
  });
}

/** A text with its NUL. */
export function encodeText(text: string): Buffer {
  if (text.includes("\0")) {
    throw invalid(JSON.stringify(text), "it holds a NUL", "Send text without a NUL.");
  }
  return Buffer.from(`${text}\0`, "utf8");
}

/** struct dm_target_msg: u64 sector, the text. */
export function encodeMessage(sector: Sectors, text: string): Buffer {
  if (text.trim() === "") throw invalid('""', "the message is empty", "Send at least one word.");
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(sector);
  return Buffer.concat([head, encodeText(text)]);
}

/** DM_TABLE_LOAD: `next` counts from the start of its own spec. */
export function encodeTable(targets: readonly DmTarget[]): Buffer {
  return Buffer.concat(targets.map(encodeTarget));
}

function encodeTarget(target: DmTarget): Buffer {
  const type = Buffer.from(target.type, "utf8");
  if (type.length === 0 || type.length >= TYPE_BYTES || type.includes(0)) {
    throw invalid(
      JSON.stringify(target.type),
      `a target's type has 1 to ${TYPE_BYTES - 1} bytes`,
      "See DM_LIST_VERSIONS for the types of this kernel.",
    );
  }
  const params = encodeText(target.params);
  const spec = Buffer.alloc(align(SPEC_BYTES + params.length));
  spec.writeBigUInt64LE(target.startSectors, 0);
  spec.writeBigUInt64LE(target.lengthSectors, SPEC_LENGTH);
  spec.writeUInt32LE(spec.length, SPEC_NEXT);
  type.copy(spec, SPEC_TYPE);
  params.copy(spec, SPEC_BYTES);
  return spec;
}

/** DM_TABLE_STATUS: here `next` counts from the start of the first spec. */
export function decodeTargets(data: Buffer, count: number): DmTarget[] {
  const targets: DmTarget[] = [];
  let offset = 0;
  for (let index = 0; index < count; index += 1) {
    if (offset + SPEC_BYTES > data.length) {
      throw malformed("a table", `target ${index} of ${count} lies outside ${data.length} bytes`);
    }
    const next = data.readUInt32LE(offset + SPEC_NEXT);
    // The last `next` counts the padding after the text, the length of the reply does not.
    if (next < offset + SPEC_BYTES || next > align(data.length)) {
      throw malformed("a table", `target ${index} says that the next one is at ${next}`);
    }
    targets.push({
      startSectors: sectors(data.readBigUInt64LE(offset)),
      lengthSectors: sectors(data.readBigUInt64LE(offset + SPEC_LENGTH)),
      type: readText(data, offset + SPEC_TYPE, TYPE_BYTES),
      params: readText(data, offset + SPEC_BYTES, next - offset - SPEC_BYTES).trimEnd(),
    });
    offset = next;
  }
  return targets;
}

/** Calls `entry` for each record of a chain whose `next` counts from its own start, 0 at the end. */
function eachRecord(
  what: string,
  data: Buffer,
  fixedBytes: number,
  nextOffset: number,
  entry: (record: Buffer) => void,
): void {
  let offset = 0;
  for (;;) {
    if (offset + fixedBytes > data.length) {
      throw malformed(what, `a record at ${offset} lies outside ${data.length} bytes`);
    }
    const next = data.readUInt32LE(offset + nextOffset);
    if (next !== 0 && next < fixedBytes) throw malformed(what, `a record is ${next} bytes long`);
    entry(data.subarray(offset, next === 0 ? data.length : offset + next));
    if (next === 0) return;
    offset += next;
  }
}

export function decodeDeviceList(data: Buffer, interfaceVersion: DmVersion): DmListEntry[] {
  const entries: DmListEntry[] = [];
  // An empty list is one record with device number 0.
  if (data.length < LIST_NAME || data.readBigUInt64LE(0) === 0n) return entries;
  eachRecord("a device list", data, LIST_NAME, LIST_NEXT, (record) => {
    const name = readText(record, LIST_NAME, record.length);
    const tail = align(LIST_NAME + Buffer.byteLength(name) + 1);
    const hasTail = interfaceVersion.minor >= EVENT_NR_IN_LIST_MINOR && tail + 8 <= record.length;
    const hasUuid = hasTail && (record.readUInt32LE(tail + 4) & LIST_HAS_UUID) !== 0;
    entries.push({
      name: nameFromKernel(name),
      dev: decodeDev(record.readBigUInt64LE(0)),
      eventNr: hasTail ? record.readUInt32LE(tail) : undefined,
      uuid: hasUuid ? uuidFromKernel(readText(record, tail + 8, record.length)) : undefined,
    });
  });
  return entries;
}

export function decodeTargetVersions(data: Buffer): DmTargetVersion[] {
  const versions: DmTargetVersion[] = [];
  if (data.length < VERSIONS_NAME) return versions;
  eachRecord("a list of targets", data, VERSIONS_NAME, 0, (record) => {
    versions.push({
      type: readText(record, VERSIONS_NAME, record.length),
      major: record.readUInt32LE(4),
      minor: record.readUInt32LE(8),
      patch: record.readUInt32LE(12),
    });
  });
  return versions;
}

export function decodeDependencies(data: Buffer): DevNumber[] {
  if (data.length < DEPS_FIRST) return [];
  const count = data.readUInt32LE(0);
  if (DEPS_FIRST + count * 8 > data.length) {
    throw malformed("dependencies", `${count} devices do not fit into ${data.length} bytes`);
  }
  return Array.from({ length: count }, (_, index) =>
    decodeDev(data.readBigUInt64LE(DEPS_FIRST + index * 8)),
  );
}
