/**
 * The two structures of linux/loop.h, to and from bytes. Little-endian only: of the machines that
 * this package supports (x64, arm64) both are.
 */
import { NativeError } from "../errors.ts";

/** Request numbers: linux/loop.h. They carry no size or direction. */
export const LOOP_SET_FD = 0x4c00;
export const LOOP_CLR_FD = 0x4c01;
export const LOOP_SET_STATUS64 = 0x4c04;
export const LOOP_GET_STATUS64 = 0x4c05;
export const LOOP_SET_CAPACITY = 0x4c07;
export const LOOP_SET_DIRECT_IO = 0x4c08;
export const LOOP_SET_BLOCK_SIZE = 0x4c09;
export const LOOP_CONFIGURE = 0x4c0a;
export const LOOP_CTL_GET_FREE = 0x4c82;

/** LO_FLAGS_* of linux/loop.h. */
export const LO_FLAGS_READ_ONLY = 1;
export const LO_FLAGS_AUTOCLEAR = 4;
export const LO_FLAGS_DIRECT_IO = 16;

export const LOOP_INFO64_BYTES = 232;
export const LOOP_CONFIG_BYTES = 304;
/** LO_NAME_SIZE, with the NUL. */
const NAME_BYTES = 64;

/** Offsets inside struct loop_info64. */
const AT = {
  device: 0,
  inode: 8,
  offset: 24,
  sizeLimit: 32,
  number: 40,
  flags: 52,
  fileName: 56,
} as const;
/** Offset of the loop_info64 inside struct loop_config, after fd and block_size. */
const CONFIG_INFO_AT = 8;

export interface LoopInfo {
  /** st_dev of the backing file: the kernel's 32-bit form is what stat(2) gives as well. */
  readonly device: bigint;
  readonly inode: bigint;
  readonly offsetBytes: bigint;
  /** 0: up to the file's end. */
  readonly sizeLimitBytes: bigint;
  readonly number: number;
  readonly flags: number;
  /** Cut at 63 bytes by the kernel. */
  readonly fileName: string;
}

/** What one may set; the kernel fills in the rest. */
export interface LoopSettings {
  readonly offsetBytes: bigint;
  readonly sizeLimitBytes: bigint;
  readonly flags: number;
  /** Shown by losetup where sysfs isn't there; cut at 63 bytes. */
  readonly fileName: string;
}

export function encodeLoopInfo(settings: LoopSettings): Buffer {
  const bytes = Buffer.alloc(LOOP_INFO64_BYTES);
  bytes.writeBigUInt64LE(settings.offsetBytes, AT.offset);
  bytes.writeBigUInt64LE(settings.sizeLimitBytes, AT.sizeLimit);
  bytes.writeUInt32LE(settings.flags, AT.flags);
  Buffer.from(settings.fileName, "utf8").copy(bytes, AT.fileName, 0, NAME_BYTES - 1);
  return bytes;
}

export function decodeLoopInfo(bytes: Buffer): LoopInfo {
  if (bytes.length !== LOOP_INFO64_BYTES) {
    throw new NativeError({
      code: "NATIVE_PARSE",
      operation: "LOOP_GET_STATUS64",
      object: "struct loop_info64",
      reason: `it has ${bytes.length} bytes, ${LOOP_INFO64_BYTES} were expected`,
      hint: "Report this: the kernel's answer has another form than linux/loop.h says.",
    });
  }
  const name = bytes.subarray(AT.fileName, AT.fileName + NAME_BYTES);
  const end = name.indexOf(0);
  return {
    device: bytes.readBigUInt64LE(AT.device),
    inode: bytes.readBigUInt64LE(AT.inode),
    offsetBytes: bytes.readBigUInt64LE(AT.offset),
    sizeLimitBytes: bytes.readBigUInt64LE(AT.sizeLimit),
    number: bytes.readUInt32LE(AT.number),
    flags: bytes.readUInt32LE(AT.flags),
    fileName: name.toString("utf8", 0, end === -1 ? NAME_BYTES : end),
  };
}

/** struct loop_config; a block size of 0 leaves the choice to the kernel. */
export function encodeLoopConfig(
  backingFd: number,
  blockSizeBytes: number,
  settings: LoopSettings,
): Buffer {
  const bytes = Buffer.alloc(LOOP_CONFIG_BYTES);
  bytes.writeUInt32LE(backingFd, 0);
  bytes.writeUInt32LE(blockSizeBytes, 4);
  encodeLoopInfo(settings).copy(bytes, CONFIG_INFO_AT);
  return bytes;
}
