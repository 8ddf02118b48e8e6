/** How large the device was that a filesystem was made on, from its superblock. */
import type { FilesystemType } from "../kernel.ts";

/** Both superblocks lie in it: ext4's at byte 1024, xfs' at 0. */
export const SUPERBLOCK_HEAD_BYTES = 4096n;

/** Documentation/filesystems/ext4/super.rst; fs/xfs/libxfs/xfs_format.h (struct xfs_dsb). */
const EXT4_BLOCKS_LOW = 0x404;
const EXT4_LOG_BLOCK_SIZE = 0x418;
const EXT4_INCOMPAT = 0x460;
const EXT4_INCOMPAT_64BIT = 0x80;
const EXT4_BLOCKS_HIGH = 0x550;
/** ext4 takes blocks of 1 KiB to 64 KiB. */
const EXT4_MAX_LOG_BLOCK_SIZE = 6;
const XFS_BLOCK_SIZE = 4;
const XFS_BLOCKS = 8;

/** 0 where the superblock makes no sense. */
export function filesystemBytes(type: FilesystemType, head: Buffer): bigint {
  if (type === "xfs")
    return BigInt(head.readUInt32BE(XFS_BLOCK_SIZE)) * head.readBigUInt64BE(XFS_BLOCKS);
  const log = head.readUInt32LE(EXT4_LOG_BLOCK_SIZE);
  if (log > EXT4_MAX_LOG_BLOCK_SIZE) return 0n;
  const wide = (head.readUInt32LE(EXT4_INCOMPAT) & EXT4_INCOMPAT_64BIT) !== 0;
  const high = wide ? BigInt(head.readUInt32LE(EXT4_BLOCKS_HIGH)) : 0n;
  const blocks = (high << 32n) | BigInt(head.readUInt32LE(EXT4_BLOCKS_LOW));
  return blocks << BigInt(10 + log);
}
