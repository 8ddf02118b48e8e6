/** What a caller may ask of mkfs: an allow list, each value within bounds, turned into flags here only. */
import { PoolError } from "./errors.ts";
import type { FilesystemType } from "./kernel.ts";

export interface MkfsOptions {
  /** Shown by blkid: up to 16 characters for ext4, 12 for xfs. */
  readonly label?: string;
  /** Of the filesystem, in bytes: 1024 (ext4 only), 2048 (ext4 only) or 4096. */
  readonly blockBytes?: 1024 | 2048 | 4096;
  /** ext4: bytes of data per inode, 1024 to 4194304. */
  readonly bytesPerInode?: number;
}

const MAX_LABEL_LENGTH: Readonly<Record<FilesystemType, number>> = { ext4: 16, xfs: 12 };
const LABEL = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const MIN_BYTES_PER_INODE = 1024;
const MAX_BYTES_PER_INODE = 4_194_304;
const ALLOWED: Readonly<Record<FilesystemType, ReadonlySet<string>>> = {
  ext4: new Set(["label", "blockBytes", "bytesPerInode"]),
  xfs: new Set(["label", "blockBytes"]),
};

export function checkMkfsOptions(
  options: MkfsOptions,
  filesystem: FilesystemType | "none",
): MkfsOptions {
  const allowed = filesystem === "none" ? new Set<string>() : ALLOWED[filesystem];
  const unknown = Object.keys(options).find((key) => !allowed.has(key));
  if (unknown !== undefined) refuse(unknown, `${filesystem} has no such option here`);
  const { label, blockBytes, bytesPerInode } = options;
  if (filesystem === "none") return {};
  if (label !== undefined && (label.length > MAX_LABEL_LENGTH[filesystem] || !LABEL.test(label))) {
    refuse("label", `it is no label for ${filesystem}`);
  }
  const sizes = filesystem === "xfs" ? [4096] : [1024, 2048, 4096];
  if (blockBytes !== undefined && !sizes.includes(blockBytes)) {
    refuse("blockBytes", `it is no block size for ${filesystem}`);
  }
  const ratio = bytesPerInode ?? MIN_BYTES_PER_INODE;
  if (!Number.isInteger(ratio) || ratio < MIN_BYTES_PER_INODE || ratio > MAX_BYTES_PER_INODE) {
    refuse("bytesPerInode", "it is out of range");
  }
  return options;
}

/** The flags of mkfs.ext4 or mkfs.xfs for options that were checked. */
export function mkfsFlags(type: FilesystemType, options: MkfsOptions): readonly string[] {
  const { label, blockBytes, bytesPerInode } = options;
  const flags: string[] = label === undefined ? [] : ["-L", label];
  if (blockBytes !== undefined) {
    flags.push("-b", type === "xfs" ? `size=${blockBytes}` : String(blockBytes));
  }
  if (bytesPerInode !== undefined) flags.push("-i", String(bytesPerInode));
  return flags;
}

function refuse(object: string, reason: string): never {
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "check of mkfs options",
    object,
    reason,
    hint: "Allowed are label, blockBytes and, for ext4, bytesPerInode, each within its bounds.",
  });
}
