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

/** A node of one's own for a device: who may open it, whatever the device's other nodes allow. */
export interface NodeRequest {
  readonly dev: DevNumber;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
}

export const MAX_READ_BYTES: bigint = 1n << 20n;

export interface BlockDevices {
  number(path: string): Promise<DevNumber>;
  sizeBytes(path: string): Promise<bigint>;
  logicalSectorBytes(path: string): Promise<number>;
  discard(path: string, range: ByteRange): Promise<void>;
  zeroOut(path: string, range: ByteRange): Promise<void>;
  /** What was written to it is on the disk when it returns (fsync(2)); through a loop, in its file. */
  flush(path: string): Promise<void>;
  /** For superblocks and the like; NATIVE_INVALID for more than `MAX_READ_BYTES` or past the end. */
  read(path: string, range: ByteRange): Promise<Buffer>;
  /** Undefined where the device carries nothing that is known. */
  signature(path: string): Promise<BlockSignature | undefined>;
  /** True where it is mounted, a swap, part of another device, or opened exclusively (O_EXCL gives EBUSY). */
  inUse(path: string): Promise<boolean>;
  /**
   * Makes a node (mknod(2)), in a folder in which only root can change anything: between making and
   * giving it away nobody may put another file there. NATIVE_EXISTS where something is. Whatever fails,
   * there is none.
   */
  makeNode(path: string, node: NodeRequest): Promise<void>;
  /** Takes it away; whoever has it open keeps it so. False where there was none. */
  removeNode(path: string): Promise<boolean>;
  /** The names of the block devices' nodes in a folder, in order; other files are none. */
  nodesIn(folder: string): Promise<readonly string[]>;
}
