/** Loop devices as an interface; see loop(4) and linux/loop.h. Every method rejects with NativeError. */
import type { DevNumber } from "../dev-number.ts";

export interface LoopAttachOptions {
  readonly backingFile: string;
  readonly readOnly?: boolean;
  /** Direct I/O on the backing file: no second page cache. Where the file can't, it is off: see the status. */
  readonly directIo?: boolean;
  /**
   * The device detaches itself at its last close. The process that attached it keeps it open until
   * `detach` or its own end, else it would be gone at once: so a crash leaves none behind, unless
   * a dm device or a mount uses it.
   */
  readonly autoclear?: boolean;
  readonly blockSizeBytes?: number;
  readonly offsetBytes?: bigint;
  readonly sizeLimitBytes?: bigint;
}

export interface LoopStatus {
  readonly index: number;
  /** /dev/loopN */
  readonly path: string;
  readonly dev: DevNumber;
  /** The backing file by device and inode: a path can be replaced, these can't. */
  readonly backingDevice: bigint;
  readonly backingInode: bigint;
  readonly backingFile: string;
  readonly offsetBytes: bigint;
  readonly sizeLimitBytes: bigint;
  readonly readOnly: boolean;
  readonly autoclear: boolean;
  readonly directIo: boolean;
}

export interface LoopDevices {
  /** Takes a free device and binds the file to it; safe when processes race for one (bounded retry). */
  attach(options: LoopAttachOptions): Promise<LoopStatus>;
  /** Detaches /dev/loopN; where it is still open, the kernel does so at its last close ("deferred"). */
  detach(path: string): Promise<"detached" | "deferred">;
  status(path: string): Promise<LoopStatus>;
  list(): Promise<readonly LoopStatus[]>;
  /** Those whose backing file is the same inode. */
  findByBackingFile(path: string): Promise<readonly LoopStatus[]>;
  /** After the backing file has grown (LOOP_SET_CAPACITY). */
  refreshCapacity(path: string): Promise<void>;
}
