/** Small archives, and a byte stream of them. */
import { TAR_END, tarHeader } from "@thinpool/mount-helper";
import type { WrittenEntry } from "@thinpool/mount-helper";

const BLOCK_BYTES = 512;

export type Wanted = Partial<WrittenEntry> & { readonly path: string; readonly body?: string };

/** With its end. */
export function tarOf(entries: readonly Wanted[]): Buffer {
  const parts = entries.flatMap(({ body = "", ...entry }) => {
    const bytes = Buffer.from(body);
    const padding = Buffer.alloc((BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES);
    const mode = entry.type === "folder" ? 0o755 : 0o644;
    const common = { type: "file", linkPath: "", mode, mtimeSeconds: 1_700_000_000 } as const;
    return [tarHeader({ ...common, sizeBytes: bytes.length, ...entry }), bytes, padding];
  });
  return Buffer.concat([...parts, TAR_END]);
}

/** The first header's checksum made right, after something in it was changed. */
export function withChecksum(archive: Buffer): Buffer {
  const header = Buffer.from(archive.subarray(0, BLOCK_BYTES)).fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, archive.subarray(BLOCK_BYTES)]);
}

// oxlint-disable-next-line require-await -- a stream as a client has it
export async function* inPieces(
  bytes: Uint8Array,
  size: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
