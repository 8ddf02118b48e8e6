/** An entry of a tar archive, as POSIX (ustar, pax) and GNU tar write them. */

export type TarEntryType =
  | "file"
  | "folder"
  | "symlink"
  | "hard link"
  | "device node"
  | "pipe"
  /** Of a kind that none of the others is; `flag` says which. */
  | "unknown";

export interface TarEntry {
  readonly type: TarEntryType;
  /** The type flag of the header. */
  readonly flag: string;
  /** As it is written there. */
  readonly path: string;
  /** Of links: what they lead to, as it is written. */
  readonly linkPath: string;
  /** Permissions, with set-id and sticky bits: 0 to 0o7777. */
  readonly mode: number;
  /** Of the last change, whole or broken seconds since 1970. */
  readonly mtimeSeconds: number;
  /** Of the body. */
  readonly sizeBytes: number;
}

export const BLOCK_BYTES = 512;

/** Zeroes behind a body, up to the next block. */
export function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}
