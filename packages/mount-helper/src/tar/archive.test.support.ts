/** Archives as tests want them, the impossible ones included. */
import { BLOCK_BYTES, paddingOf } from "./entry.ts";
import { TAR_END, tarHeader } from "./writer.ts";
import type { WrittenEntry } from "./writer.ts";

export type Wanted = Partial<WrittenEntry> & {
  readonly path: string;
  readonly body?: string | Uint8Array;
  /** Of the header, in place of what the type says. */
  readonly flag?: string;
};

export function entryOf({ body = "", flag, ...entry }: Wanted): Buffer {
  const bytes = Buffer.from(body);
  const mode = entry.type === "folder" ? 0o755 : 0o644;
  const common = { type: "file", linkPath: "", mode, mtimeSeconds: 1_700_000_000 } as const;
  const header = Buffer.from(tarHeader({ ...common, sizeBytes: bytes.length, ...entry }));
  if (flag !== undefined) header.write(flag, header.length - BLOCK_BYTES + 156);
  return Buffer.concat([
    ...(flag === undefined ? [header] : [summed(header)]),
    bytes,
    Buffer.alloc(paddingOf(bytes.length)),
  ]);
}

export function archiveOf(...entries: readonly Wanted[]): Buffer {
  return Buffer.concat([...entries.map(entryOf), TAR_END]);
}

/** The checksum of the last header made right. */
export function summed(headers: Buffer): Buffer {
  const copy = Buffer.from(headers);
  const last = copy.subarray(copy.length - BLOCK_BYTES).fill(" ", 148, 156);
  const sum = last.reduce((total, byte) => total + byte, 0);
  last.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return copy;
}

/** A header about the next entry: of pax ("x", "g") or of GNU's long names ("L", "K"). */
export function metaOf(flag: string, body: string | Uint8Array): Buffer {
  return entryOf({ path: "meta", flag, body });
}

export function paxOf(records: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    const length = rest + String(rest + 2).length;
    return `${length} ${key}=${value}\n`;
  });
  return metaOf("x", lines.join(""));
}

// oxlint-disable-next-line require-await -- a stream as the worker has it
export async function* inPieces(
  bytes: Uint8Array,
  size = 1000,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
