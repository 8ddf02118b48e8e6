/** `BlockDevices` on the kernel: ioctls of linux/fs.h. Needs read or write access to the node. */
import { statSync } from "node:fs";
import { chmod, lchown, lstat, open as openFile, readdir, stat, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import type { BigIntStats } from "node:fs";
import { devNumberOf, stDevOf } from "../dev-number.ts";
import type { DevNumber } from "../dev-number.ts";
import { isInDmFolder } from "../dm/nodes.ts";
import { NativeError } from "../errors.ts";
import {
  checkPath,
  closeDescriptor,
  expectResult,
  O_CLOEXEC,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  withDescriptor,
} from "../sys/descriptor.ts";
import { ERRNO, errnoOfNodeError, nativeErrorFromErrno } from "../sys/errno.ts";
import { ioctl, requestNone, requestRead } from "../sys/ioctl.ts";
import { close, ioctlPointer, mknod, open } from "../sys/libc.ts";
import type { SyscallResult } from "../sys/libc.ts";
import { LongWaitLane } from "../sys/long-wait.ts";
import { MAX_READ_BYTES } from "./block-devices.ts";
import type { BlockDevices, BlockSignature, ByteRange, NodeRequest } from "./block-devices.ts";
import { findSignature, HEAD_BYTES, TAIL_BYTES } from "./signatures.ts";

/** linux/fs.h. The size in BLKGETSIZE64 is that of a size_t, the answer is 8 bytes. */
const BLKGETSIZE64 = requestRead(0x12, 114, 8);
const BLKSSZGET = requestNone(0x12, 104);
const BLKDISCARD = requestNone(0x12, 119);
const BLKZEROOUT = requestNone(0x12, 127);
/** linux/stat.h */
const S_IFBLK = 0o060000;

/** Discards and zeroings that run at the same time; both may take minutes on a large device. */
const MAX_WAITING_THREADS = 2;
const MAX_WAITING_QUEUED = 256;
/** Both ends of a range are at whole sectors of 512 bytes, whatever the device's own size is. */
const RANGE_ALIGNMENT_BYTES = 512n;
/** loff_t. The kernel adds a range's two numbers up without looking (block/ioctl.c, before 6.10). */
const MAX_RANGE_END_BYTES = (1n << 63n) - 1n;

export interface LinuxBlockDevicesOptions {
  /** Threads for discards and zeroings; by default two of its own. */
  readonly lane?: LongWaitLane;
}

async function statOf(path: string): Promise<BigIntStats> {
  checkPath("stat", path);
  try {
    // There a look waits for no disk, and takes far less time than a way to another thread.
    if (isInDmFolder(path)) return statSync(path, { bigint: true });
    return await stat(path, { bigint: true });
  } catch (error) {
    throw nativeErrorOf("stat", path, error);
  }
}

/** Of what Node's own functions throw; anything else as it is. */
function nativeErrorOf(operation: string, object: string, error: unknown): unknown {
  const errno = errnoOfNodeError(error);
  return errno === 0 ? error : nativeErrorFromErrno({ operation, object, errno, cause: error });
}

function notBlock(operation: string, path: string): NativeError {
  return new NativeError({
    code: "NATIVE_INVALID",
    operation,
    object: path,
    reason: "it is no block device",
    hint: "Give the node of a block device, for example /dev/loop0.",
  });
}

/** As `expectResult`, of one of several calls whose turn came. */
function expectOutcome(
  outcome: SyscallResult | undefined,
  operation: string,
  path: string,
): number {
  if (outcome === undefined) throw new Error(`${operation}: it was not called`);
  return expectResult(outcome, { operation, object: path });
}

/** Opens a block device; anything else is refused before it is opened. */
async function withBlockDevice<T>(
  operation: string,
  path: string,
  flags: number,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  if (!(await statOf(path)).isBlockDevice()) throw notBlock(operation, path);
  return withDescriptor(path, flags, use);
}

/** Opens the file for reading by Node's own functions. */
async function withFile<T>(
  operation: string,
  path: string,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  try {
    await using file = await openFile(path, O_RDONLY | O_CLOEXEC);
    return await use(file);
  } catch (error) {
    throw nativeErrorOf(operation, path, error);
  }
}

async function readFully(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled);
    // The file became shorter meanwhile: the rest counts as zeros.
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes;
}

export class LinuxBlockDevices implements BlockDevices {
  readonly #lane: LongWaitLane;
  readonly #ownsLane: boolean;

  constructor(options: LinuxBlockDevicesOptions = {}) {
    this.#lane =
      options.lane ??
      new LongWaitLane({
        name: "block devices",
        maxThreads: MAX_WAITING_THREADS,
        maxQueued: MAX_WAITING_QUEUED,
      });
    this.#ownsLane = options.lane === undefined;
  }

  /** Ends its own threads. */
  async close(): Promise<void> {
    if (this.#ownsLane) await this.#lane.close();
  }

  async number(path: string): Promise<DevNumber> {
    const stats = await statOf(path);
    if (!stats.isBlockDevice()) throw notBlock("stat", path);
    return devNumberOf(stats.rdev);
  }

  async sizeBytes(path: string): Promise<bigint> {
    const answer = Buffer.alloc(8);
    await this.#ask("BLKGETSIZE64", path, BLKGETSIZE64, answer);
    return answer.readBigUInt64LE();
  }

  async logicalSectorBytes(path: string): Promise<number> {
    const answer = Buffer.alloc(4);
    await this.#ask("BLKSSZGET", path, BLKSSZGET, answer);
    return answer.readInt32LE();
  }

  async discard(path: string, range: ByteRange): Promise<void> {
    await this.#clear("BLKDISCARD", path, BLKDISCARD, range);
  }

  async zeroOut(path: string, range: ByteRange): Promise<void> {
    await this.#clear("BLKZEROOUT", path, BLKZEROOUT, range);
  }

  async flush(path: string): Promise<void> {
    if (!(await statOf(path)).isBlockDevice()) throw notBlock("fsync", path);
    await withFile("fsync", path, (file) => file.sync());
  }

  async read(path: string, range: ByteRange): Promise<Buffer> {
    const { offsetBytes, lengthBytes } = range;
    const sizeBytes = await this.sizeBytes(path);
    const inside = offsetBytes >= 0n && lengthBytes > 0n && offsetBytes + lengthBytes <= sizeBytes;
    if (!inside || lengthBytes > MAX_READ_BYTES) {
      throw new NativeError({
        code: "NATIVE_INVALID",
        operation: "read",
        object: path,
        reason: `${lengthBytes} bytes at ${offsetBytes} are past its ${sizeBytes} bytes, or too many`,
        hint: `Read at most ${MAX_READ_BYTES} bytes inside the device.`,
      });
    }
    return withFile("read", path, (file) =>
      readFully(file, Number(offsetBytes), Number(lengthBytes)),
    );
  }

  /** Reads 256 KiB of the beginning and 128 KiB of the end; a regular file will do as well. */
  async signature(path: string): Promise<BlockSignature | undefined> {
    const stats = await statOf(path);
    if (!stats.isBlockDevice() && !stats.isFile()) throw notBlock("signature", path);
    const size = stats.isFile() ? stats.size : await this.sizeBytes(path);
    // Beyond 2^53 bytes (8 PiB) no device is; the conversion is exact.
    const sizeBytes = Number(size);
    const headBytes = Math.min(HEAD_BYTES, sizeBytes);
    const tailBytes = Math.min(TAIL_BYTES, sizeBytes);
    try {
      const file = await openFile(path, O_RDONLY | O_CLOEXEC);
      try {
        const head = await readFully(file, 0, headBytes);
        const tail = await readFully(file, sizeBytes - tailBytes, tailBytes);
        return findSignature({ sizeBytes, head, tail });
      } finally {
        await file.close();
      }
    } catch (error) {
      const errno = errnoOfNodeError(error);
      if (errno === 0) throw error;
      throw nativeErrorFromErrno({ operation: "read", object: path, errno, cause: error });
    }
  }

  async inUse(path: string): Promise<boolean> {
    if (!(await statOf(path)).isBlockDevice()) throw notBlock("open", path);
    const { result, errno } = await open.async(path, O_RDONLY | O_EXCL | O_CLOEXEC, 0);
    if (result < 0 && errno === ERRNO.EBUSY) return true;
    const fd = expectResult({ result, errno }, { operation: "open", object: path });
    await closeDescriptor(fd);
    return false;
  }

  async makeNode(path: string, { dev, uid, gid, mode }: NodeRequest): Promise<void> {
    checkPath("mknod", path);
    // Nobody's until it is given away.
    const made = await mknod.async(path, S_IFBLK, stDevOf(dev));
    expectResult(made, { operation: "mknod", object: path });
    try {
      await lchown(path, uid, gid);
      await chmod(path, mode);
    } catch (error) {
      await unlink(path);
      throw nativeErrorOf("chown", path, error);
    }
  }

  async removeNode(path: string): Promise<boolean> {
    checkPath("unlink", path);
    try {
      if (!(await lstat(path)).isBlockDevice()) throw notBlock("unlink", path);
      await unlink(path);
      return true;
    } catch (error) {
      if (errnoOfNodeError(error) === ERRNO.ENOENT) return false;
      throw nativeErrorOf("unlink", path, error);
    }
  }

  async nodesIn(folder: string): Promise<readonly string[]> {
    checkPath("readdir", folder);
    try {
      const entries = await readdir(folder, { withFileTypes: true });
      const nodes = entries.filter((entry) => entry.isBlockDevice());
      return nodes.map(({ name }) => name).toSorted();
    } catch (error) {
      throw nativeErrorOf("readdir", folder, error);
    }
  }

  async #ask(operation: string, path: string, request: number, answer: Buffer): Promise<void> {
    await withBlockDevice(operation, path, O_RDONLY, async (fd) => {
      expectResult(await ioctl(fd, request, answer), { operation, object: path });
    });
  }

  /** Opens, clears and closes on one thread; that the range ends inside the device is the kernel's own check. */
  async #clear(
    operation: string,
    path: string,
    request: number,
    { offsetBytes, lengthBytes }: ByteRange,
  ): Promise<void> {
    const endBytes = offsetBytes + lengthBytes;
    const refuse = (sizeBytes: bigint): never => {
      throw new NativeError({
        code: "NATIVE_INVALID",
        operation,
        object: path,
        reason: `${lengthBytes} bytes at ${offsetBytes} are no range of whole sectors inside its ${sizeBytes} bytes`,
        hint: "Give a range of whole sectors that lies inside the device.",
      });
    };
    const aligned = (offsetBytes | lengthBytes) % RANGE_ALIGNMENT_BYTES === 0n;
    const possible = offsetBytes >= 0n && lengthBytes > 0n && endBytes <= MAX_RANGE_END_BYTES;
    if (!aligned || !possible) refuse(await this.sizeBytes(path));
    if (!(await statOf(path)).isBlockDevice()) throw notBlock(operation, path);
    const range = Buffer.alloc(16);
    range.writeBigUInt64LE(offsetBytes, 0);
    range.writeBigUInt64LE(lengthBytes, 8);
    const fd = { resultOf: 0 };
    const [opened, cleared, closed] = await this.#lane.runAll([
      { fn: open, args: [path, O_RDWR | O_CLOEXEC, 0] },
      { fn: ioctlPointer, args: [fd, request, range] },
      { fn: close, args: [fd] },
    ]);
    const file = expectOutcome(opened, "open", path);
    // After a failure the last call was not made.
    if (closed === undefined) await closeDescriptor(file);
    if (cleared?.errno === ERRNO.EINVAL) {
      const sizeBytes = await this.sizeBytes(path);
      if (endBytes > sizeBytes) refuse(sizeBytes);
    }
    expectOutcome(cleared, operation, path);
  }
}
