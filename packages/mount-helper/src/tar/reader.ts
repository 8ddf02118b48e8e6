/**
 * Reads a tar archive from a stream, entry by entry. What can't be read with certainty is refused: an
 * archive from which something would be missing, or be another thing than its maker meant, is none.
 * It touches no file, and follows nothing.
 */
import { RequestError } from "../errors.ts";
import { ByteSource } from "./byte-source.ts";
import type { TarEntry, TarEntryType } from "./entry.ts";
import { BLOCK_BYTES, paddingOf } from "./entry.ts";

/** Of a pax header or a GNU long name, with the extended attributes that some put in there. */
export const MAX_META_BYTES: number = 1024 * 1024;
/** Headers that are about the next entry, one after another: path, link and attributes are three. */
export const MAX_METAS_PER_ENTRY = 8;
/** Behind the end: tar pads to whole records. */
export const MAX_TRAILING_BYTES: number = 16 * 1024 * 1024;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function refuseArchive(object: string, reason: string, hint?: string): RequestError {
  return new RequestError({ code: "ARCHIVE_REFUSED", operation: "unpack", object, reason, hint });
}

const broken = (reason: string): RequestError =>
  refuseArchive("the archive", reason, "Give a whole tar archive; pack or fetch it anew.");

/** An entry, and its body, which is read before the next entry is asked for; what is left of it is passed over. */
export interface ReadEntry extends TarEntry {
  readonly body: AsyncIterable<Uint8Array>;
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  "0": "file",
  "\0": "file",
  // "Contiguous": a file to everybody else.
  "7": "file",
  "1": "hard link",
  "2": "symlink",
  "3": "device node",
  "4": "device node",
  "5": "folder",
  "6": "pipe",
};

/** What headers before an entry say of it. */
interface Overrides {
  path?: string;
  linkPath?: string;
  sizeBytes?: number;
  mtimeSeconds?: number;
}

/** Ends behind the archive's end, once all of `chunks` was read. Throws RequestError: ARCHIVE_REFUSED. */
export async function* readTar(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<ReadEntry, void, undefined> {
  const source = new ByteSource(chunks);
  let overrides: Overrides = {};
  let metas = 0;
  for (;;) {
    const block = await source.exactly(BLOCK_BYTES);
    if (block === undefined) throw broken("it ends in the middle, without its end mark");
    if (block.every((byte) => byte === 0)) {
      if (metas > 0) throw broken("a header about the next entry is the last one");
      await passTrailing(source);
      return;
    }
    const header = parseHeader(block);
    if (isMeta(header.flag)) {
      metas += 1;
      if (metas > MAX_METAS_PER_ENTRY) throw broken("too many headers are about one entry");
      const body = await metaBody(source, header);
      if (header.flag !== "g") overrides = { ...overrides, ...parseMeta(header.flag, body) };
      continue;
    }
    // In the header a name may be cut off in the middle of a character, where one before has it whole.
    const path = overrides.path ?? nameOf(block);
    const linkPath = overrides.linkPath ?? stringAt(block, 157, 100, "a link");
    const entry = { ...header, ...overrides, path, linkPath };
    overrides = {};
    metas = 0;
    const body = new Body(source, sizeOfBody(entry));
    yield { ...entry, type: typeOf(entry), sizeBytes: body.sizeBytes, body };
    await body.finish();
  }
}

/** The bytes of one entry, once. */
class Body implements AsyncIterable<Uint8Array> {
  readonly sizeBytes: number;
  readonly #source: ByteSource;
  #left: number;

  constructor(source: ByteSource, sizeBytes: number) {
    this.#source = source;
    this.sizeBytes = sizeBytes;
    this.#left = sizeBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#left > 0) {
      const bytes = await this.#source.some(this.#left);
      if (bytes === undefined) throw broken("it ends in the middle of an entry");
      this.#left -= bytes.length;
      yield bytes;
    }
  }

  /** What nobody read, and the padding. */
  async finish(): Promise<void> {
    for await (const _passed of this) {
      // Passed over.
    }
    const padding = paddingOf(this.sizeBytes);
    if (padding > 0 && (await this.#source.exactly(padding)) === undefined) {
      throw broken("it ends in the middle of an entry");
    }
  }
}

async function passTrailing(source: ByteSource): Promise<void> {
  let passed = 0;
  for (;;) {
    const more = await source.some(Number.MAX_SAFE_INTEGER);
    if (more === undefined) return;
    passed += more.length;
    if (passed > MAX_TRAILING_BYTES) throw broken("too much follows its end");
  }
}

function isMeta(flag: string): boolean {
  return flag === "x" || flag === "g" || flag === "L" || flag === "K";
}

async function metaBody(source: ByteSource, { sizeBytes }: Header): Promise<Uint8Array> {
  if (sizeBytes > MAX_META_BYTES) {
    throw broken(`a header of ${sizeBytes} bytes; at most ${MAX_META_BYTES} are read`);
  }
  const body = new Body(source, sizeBytes);
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  await body.finish();
  return Buffer.concat(parts);
}

function parseMeta(flag: string, body: Uint8Array): Overrides {
  if (flag === "x") return parsePax(body);
  const text = stringAt(body, 0, body.length, "a long name");
  return flag === "L" ? { path: text } : { linkPath: text };
}

/** Records of the form "LENGTH KEY=VALUE\n", the length that of the whole record. */
function parsePax(body: Uint8Array): Overrides {
  const overrides: Overrides = {};
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? "" : decode(body.subarray(at, space), "a pax header");
    const end = at + Number(digits);
    if (!/^[1-9][0-9]{0,6}$/.test(digits) || end > body.length || body[end - 1] !== 0x0a) {
      throw broken("a pax header that is none");
    }
    const record = body.subarray(space + 1, end - 1);
    const equals = record.indexOf(0x3d);
    if (equals <= 0) throw broken("a pax header that is none");
    readPax(
      overrides,
      decode(record.subarray(0, equals), "a pax header"),
      record.subarray(equals + 1),
    );
    at = end;
  }
  return overrides;
}

/** Keys that say nothing of what is unpacked (owners, attributes) are passed over. */
function readPax(overrides: Overrides, key: string, value: Uint8Array): void {
  if (key.startsWith("GNU.sparse.")) {
    // Its body is a map and pieces: written as it is, the file would be another one.
    throw refuseArchive(
      overrides.path === undefined ? "an entry" : quoted(overrides.path),
      "it is a sparse file in GNU tar's own form",
      "Pack without --sparse.",
    );
  }
  switch (key) {
    case "path":
      overrides.path = nulFree(decode(value, "a path"), "a path");
      return;
    case "linkpath":
      overrides.linkPath = nulFree(decode(value, "a link"), "a link");
      return;
    case "size":
      overrides.sizeBytes = paxNumber(value, /^(0|[1-9][0-9]{0,15})$/, "a size");
      return;
    case "mtime":
      overrides.mtimeSeconds = paxNumber(value, /^-?[0-9]{1,12}(\.[0-9]{0,12})?$/, "a time");
      return;
    default:
  }
}

function paxNumber(value: Uint8Array, form: RegExp, what: string): number {
  const text = decode(value, what);
  const number = Number(text);
  if (!form.test(text) || Math.abs(number) > Number.MAX_SAFE_INTEGER) {
    throw broken(`${what} of ${quoted(text)}`);
  }
  return number;
}

/** Without its names. */
type Header = Omit<TarEntry, "type" | "path" | "linkPath">;

function parseHeader(block: Uint8Array): Header {
  const sum = statedSum(block);
  const actual = block.reduce(
    (total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte),
    0,
  );
  if (sum !== actual) {
    throw refuseArchive(
      "the archive",
      "a header's checksum is wrong: it is no tar archive, or was damaged",
      "Unpack it first if it is compressed.",
    );
  }
  return {
    flag: String.fromCharCode(block[156] ?? 0),
    mode: numberAt(block, 100, 8, "a mode") & 0o7777,
    mtimeSeconds: numberAt(block, 136, 12, "a time"),
    sizeBytes: sizeAt(block),
  };
}

/** Undefined for what is no number: of all fields of what is no header this one is looked at first. */
function statedSum(block: Uint8Array): number | undefined {
  try {
    return numberAt(block, 148, 8, "a checksum");
  } catch {
    return undefined;
  }
}

function nameOf(block: Uint8Array): string {
  const name = stringAt(block, 0, 100, "a name");
  // GNU tar has other things in the place of the prefix, and says so by its magic.
  const isPosix = stringAt(block, 257, 6, "a magic") === "ustar";
  const prefix = isPosix ? stringAt(block, 345, 155, "a name") : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function typeOf({ flag, path }: Pick<TarEntry, "flag" | "path">): TarEntryType {
  const type = TYPES[flag] ?? "unknown";
  // As the first tars wrote folders.
  return type === "file" && path.endsWith("/") ? "folder" : type;
}

/** Only files have one; of others some writers give a size all the same. */
function sizeOfBody(entry: Omit<TarEntry, "type">): number {
  const type = typeOf(entry);
  return type === "file" || type === "unknown" ? entry.sizeBytes : 0;
}

function sizeAt(block: Uint8Array): number {
  const size = numberAt(block, 124, 12, "a size");
  if (size < 0) throw broken(`a size of ${size}`);
  return size;
}

/** Octal digits between spaces and NULs, or, with the first bit set, a binary number. */
function numberAt(block: Uint8Array, at: number, length: number, what: string): number {
  const field = block.subarray(at, at + length);
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    // Two's complement of which the first bit is the mark: GNU's base-256.
    let value = (first & 0x40) !== 0 ? -1n : 0n;
    value = (value << 6n) | BigInt(first & 0x3f);
    for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < -BigInt(Number.MAX_SAFE_INTEGER)) {
      throw broken(`${what} of ${value}`);
    }
    return Number(value);
  }
  const text = Buffer.from(field).toString("latin1");
  const digits = /^[ \0]*([0-7]*)[ \0]*$/.exec(text)?.[1];
  if (digits === undefined) throw broken(`${what} that is no number`);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** Up to the first NUL. */
function stringAt(block: Uint8Array, at: number, length: number, what: string): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return decode(end < 0 ? field : field.subarray(0, end), what);
}

function nulFree(text: string, what: string): string {
  if (text.includes("\0")) throw broken(`${what} with a NUL in it`);
  return text;
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw broken(`${what} that is not UTF-8: ${quoted(Buffer.from(bytes).toString("latin1"))}`);
  }
}

/** The longest part of a name that goes into a message. */
const MAX_QUOTED_LENGTH = 160;

export function quoted(text: string): string {
  const short = text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text;
  return JSON.stringify(short);
}
