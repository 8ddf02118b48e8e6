/** Block devices as an interface. Every method rejects with NativeError. */
import type { DevNumber } from "../dev-number.ts";

export interface ByteRange {
  readonly offsetBytes: bigint;
  readonly lengthBytes: bigint;
}

/** What a device already carries, by its magic number. */
export interface BlockSignature {
  /** "ext4", "xfs", "LVM2_member", "thin-pool metadata", "gpt" … */
  readonly type: string;
  readonly offsetBytes: bigint;
}

export const MAX_READ_BYTES: bigint = 1n << 20n;

export interface BlockDevices {
  number(path: string): Promise<DevNumber>;
  sizeBytes(path: string): Promise<bigint>;
  logicalSectorBytes(path: string): Promise<number>;
  discard(path: string, range: ByteRange): Promise<void>;
  zeroOut(path: string, range: ByteRange): Promise<void>;
  /** For superblocks and the like; NATIVE_INVALID for more than `MAX_READ_BYTES` or past the end. */
  read(path: string, range: ByteRange): Promise<Buffer>;
  /** Undefined where the device carries nothing that is known. */
  signature(path: string): Promise<BlockSignature | undefined>;
  /** True where it is mounted, a swap, part of another device, or opened exclusively (O_EXCL gives EBUSY). */
  inUse(path: string): Promise<boolean>;
}
