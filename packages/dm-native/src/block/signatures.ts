/**
 * What a device already carries, told by magic numbers: enough to refuse to overwrite it. A table
 * of (type, offset, magic) with the names that blkid(8) uses; pure, on bytes already read.
 *
 * A device that carries something unknown to this table is not proven empty.
 */
import type { BlockSignature } from "./block-devices.ts";

/** How much of the beginning is wanted: up to the end of a ZFS label (256 KiB). */
export const HEAD_BYTES: number = 256 * 1024;
/** How much of the end is wanted: md 0.90 keeps its superblock up to 128 KiB before it. */
export const TAIL_BYTES: number = 128 * 1024;

/** The beginning and the end of a device; of a small one, both hold all of it. */
export interface DeviceView {
  readonly sizeBytes: number;
  readonly head: Buffer;
  /** The last bytes: ends at `sizeBytes`. */
  readonly tail: Buffer;
}

interface Magic {
  readonly type: string;
  /** From the beginning. */
  readonly offset: number;
  readonly magic: Buffer;
  /** A second magic at another place, both must stand. */
  readonly and?: { readonly offset: number; readonly magic: Buffer };
}

function ascii(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** 0x55 0xAA at 510: the end of every boot sector of a PC. */
const BOOT = { offset: 510, magic: Buffer.from([0x55, 0xaa]) };
/** MD_SB_MAGIC 0xa92b4efc (linux/raid/md_p.h). */
const MD_MAGIC = Buffer.from("fc4e2ba9", "hex");
/** The swap header ends the first page, whose size is the machine's. */
const PAGE_SIZES = [4096, 8192, 16_384, 32_768, 65_536];
const SWAP_MAGICS: readonly (readonly [string, string])[] = [
  ["swap", "SWAPSPACE2"],
  ["swap", "SWAP-SPACE"],
  ["swsuspend", "S1SUSPEND\0"],
  ["swsuspend", "S2SUSPEND\0"],
  ["swsuspend", "ULSUSPEND\0"],
  ["swsuspend", "LINHIB0001"],
];

/** In order of trust: long and unlikely magics first. */
const MAGICS: readonly Magic[] = [
  // struct thin_disk_superblock: csum u32, flags u32, blocknr u64, uuid 16 bytes, magic u64
  // (drivers/md/dm-thin-metadata.c, THIN_SUPERBLOCK_MAGIC; dm-cache and dm-era have the same form).
  { type: "thin-pool metadata", offset: 32, magic: u64(27_022_010n) },
  { type: "dm-cache metadata", offset: 32, magic: u64(0o6142003n) },
  { type: "dm-era metadata", offset: 32, magic: u64(2_126_579_579n) },
  { type: "crypto_LUKS", offset: 0, magic: ascii("LUKS\xba\xbe") },
  // LUKS2's second header, at its smallest offset.
  { type: "crypto_LUKS", offset: 16_384, magic: ascii("SKUL\xba\xbe") },
  // The label is in one of the first four sectors (LVM2, lib/label/label.h).
  ...[0, 1, 2, 3].map((sector) => ({
    type: "LVM2_member",
    offset: sector * 512,
    magic: ascii("LABELONE"),
    and: { offset: sector * 512 + 24, magic: ascii("LVM2 001") },
  })),
  { type: "stratis", offset: 516, magic: ascii("!Stra0tis\x86\xff\x02^\x41rh") },
  { type: "stratis", offset: 4612, magic: ascii("!Stra0tis\x86\xff\x02^\x41rh") },
  { type: "vdo", offset: 0, magic: ascii("dmvdo001") },
  { type: "DM_verity_hash", offset: 0, magic: ascii("verity\0\0") },
  { type: "DM_integrity", offset: 0, magic: ascii("integrt\0") },
  { type: "bcache", offset: 4120, magic: Buffer.from("c68573f64e1a45ca8265f57f48ba6d81", "hex") },
  { type: "bcachefs", offset: 4120, magic: Buffer.from("c68573f666ce90a9d96a60cf803df7ef", "hex") },
  { type: "linux_raid_member", offset: 0, magic: MD_MAGIC },
  { type: "linux_raid_member", offset: 4096, magic: MD_MAGIC },
  { type: "btrfs", offset: 65_600, magic: ascii("_BHRfS_M") },
  { type: "xfs", offset: 0, magic: ascii("XFSB") },
  { type: "f2fs", offset: 1024, magic: Buffer.from("1020f5f2", "hex") },
  { type: "erofs", offset: 1024, magic: Buffer.from("e2e1f5e0", "hex") },
  { type: "reiserfs", offset: 65_588, magic: ascii("ReIsEr") },
  { type: "jfs", offset: 32_768, magic: ascii("JFS1") },
  { type: "squashfs", offset: 0, magic: ascii("hsqs") },
  { type: "iso9660", offset: 32_769, magic: ascii("CD001") },
  ...SWAP_MAGICS.flatMap(([type, magic]) =>
    PAGE_SIZES.map((page) => ({ type, offset: page - 10, magic: ascii(magic) })),
  ),
  { type: "ntfs", offset: 3, magic: ascii("NTFS    "), and: BOOT },
  { type: "exfat", offset: 3, magic: ascii("EXFAT   "), and: BOOT },
  { type: "vfat", offset: 82, magic: ascii("FAT32   "), and: BOOT },
  { type: "vfat", offset: 54, magic: ascii("FAT16   "), and: BOOT },
  { type: "vfat", offset: 54, magic: ascii("FAT12   "), and: BOOT },
  { type: "gpt", offset: 512, magic: ascii("EFI PART") },
  { type: "gpt", offset: 4096, magic: ascii("EFI PART") },
];

/** The bytes at an offset from the beginning; undefined where they are not among those read. */
function bytesAt(view: DeviceView, offset: number, length: number): Buffer | undefined {
  if (offset < 0) return undefined;
  if (offset + length <= view.head.length) return view.head.subarray(offset, offset + length);
  const inTail = offset - (view.sizeBytes - view.tail.length);
  if (inTail < 0 || inTail + length > view.tail.length) return undefined;
  return view.tail.subarray(inTail, inTail + length);
}

function stands(view: DeviceView, offset: number, magic: Buffer): boolean {
  return bytesAt(view, offset, magic.length)?.equals(magic) === true;
}

function found(type: string, offset: number): BlockSignature {
  return { type, offsetBytes: BigInt(offset) };
}

/** The magic of ext2, 3 and 4 is two bytes at 1080; the feature words tell which (fs/ext4/ext4.h). */
function ext(view: DeviceView): BlockSignature | undefined {
  const superblock = bytesAt(view, 1024, 256);
  if (superblock?.readUInt16LE(56) !== 0xef53) return undefined;
  const hasJournal = (superblock.readUInt32LE(92) & 0x4) !== 0;
  const incompat = superblock.readUInt32LE(96);
  const roCompat = superblock.readUInt32LE(100);
  // JOURNAL_DEV; then all that ext3 does not know: beyond filetype, recover, meta_bg among the
  // incompatible features, beyond sparse_super, large_file, btree_dir among the read-only ones.
  if ((incompat & 0x8) !== 0) return found("jbd", 1080);
  const newer = (incompat & ~0x16) !== 0 || (roCompat & ~0x7) !== 0;
  if (newer) return found("ext4", 1080);
  return found(hasJournal ? "ext3" : "ext2", 1080);
}

/** An uberblock (magic 0x00bab10c, either byte order) in the ring of the first ZFS label. */
function zfs(view: DeviceView): BlockSignature | undefined {
  const little = u64(0x00bab10cn);
  const big = Buffer.alloc(8);
  big.writeBigUInt64BE(0x00bab10cn);
  for (let offset = 128 * 1024; offset < 256 * 1024; offset += 1024) {
    if (stands(view, offset, little) || stands(view, offset, big)) {
      return found("zfs_member", offset);
    }
  }
  return undefined;
}

/** Superblocks and tables that live at the end of the device. */
function atEnd(view: DeviceView): BlockSignature | undefined {
  const { sizeBytes } = view;
  const places: readonly (readonly [string, number, Buffer])[] = [
    // md 0.90: MD_NEW_SIZE_SECTORS; md 1.0: 8 to 12 KiB before the end, at a multiple of 4 KiB.
    ["linux_raid_member", Math.floor(sizeBytes / 65_536) * 65_536 - 65_536, MD_MAGIC],
    ["linux_raid_member", Math.floor((sizeBytes - 8192) / 4096) * 4096, MD_MAGIC],
    // The second header of a GPT is the last sector.
    ["gpt", sizeBytes - 512, ascii("EFI PART")],
    ["gpt", sizeBytes - 4096, ascii("EFI PART")],
  ];
  const hit = places.find(([, offset, magic]) => stands(view, offset, magic));
  return hit === undefined ? undefined : found(hit[0], hit[1]);
}

/** A PC partition table with at least one entry: each a boot flag, a type and a length. */
function mbr(view: DeviceView): BlockSignature | undefined {
  if (!stands(view, BOOT.offset, BOOT.magic)) return undefined;
  const table = bytesAt(view, 446, 64);
  if (table === undefined) return undefined;
  for (let entry = 0; entry < 64; entry += 16) {
    const flag = table.readUInt8(entry);
    const flagIsPlain = flag === 0 || flag === 0x80;
    if (flagIsPlain && table.readUInt8(entry + 4) !== 0 && table.readUInt32LE(entry + 12) !== 0) {
      return found("dos", BOOT.offset);
    }
  }
  return undefined;
}

/** The first signature in order of trust; undefined where none of the known ones stands. */
export function findSignature(view: DeviceView): BlockSignature | undefined {
  for (const { type, offset, magic, and } of MAGICS) {
    const second = and === undefined || stands(view, and.offset, and.magic);
    if (second && stands(view, offset, magic)) return found(type, offset);
  }
  return ext(view) ?? zfs(view) ?? atEnd(view) ?? mbr(view);
}
