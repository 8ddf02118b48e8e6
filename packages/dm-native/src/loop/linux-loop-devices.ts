/**
 * `LoopDevices` on the kernel: loop(4), /dev/loop-control, /sys/block/loopN/loop.
 * Needs CAP_SYS_ADMIN; LOOP_CONFIGURE is Linux 5.8, without it the two older calls are taken.
 */
import type { BigIntStats } from "node:fs";
import { access, readdir, readFile, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { devNumberOf, formatDevNumber, sameDevNumber, stDevOf } from "../dev-number.ts";
import type { DevNumber } from "../dev-number.ts";
import { NativeError } from "../errors.ts";
import {
  checkPath,
  closeDescriptor,
  expectResult,
  O_RDONLY,
  O_RDWR,
  openDescriptor,
  withDescriptor,
} from "../sys/descriptor.ts";
import { ERRNO, errnoOfNodeError, nativeErrorFromErrno } from "../sys/errno.ts";
import { ioctl } from "../sys/ioctl.ts";
import type { IoctlArgument } from "../sys/ioctl.ts";
import { mknod } from "../sys/libc.ts";
import type { SyscallResult } from "../sys/libc.ts";
import type { LoopAttachOptions, LoopDevices, LoopStatus } from "./loop-devices.ts";
import * as loop from "./loop-structs.ts";
import type { LoopInfo, LoopSettings } from "./loop-structs.ts";

const CONTROL = "/dev/loop-control";
/** LOOP_MAJOR, linux/major.h */
const LOOP_MAJOR = 7;
const MODE_BLOCK_DEVICE = 0o060000;

/** So many times another process may take the free device that the kernel just named. */
const MAX_ATTACH_TRIES = 100;
/** A short random pause between the tries, so that racing processes part. */
const MAX_RETRY_PAUSE_MS = 10;
/** udev, where it runs, has this long to make the node of a new device. */
const NODE_WAIT_TRIES = 100;
const NODE_WAIT_PAUSE_MS = 20;
/** LOOP_SET_STATUS64 is EAGAIN while the page cache of the device is not yet empty. */
const MAX_AGAIN_TRIES = 50;
const AGAIN_PAUSE_MS = 20;
/** After the last close the kernel detaches at once, but some versions do so in a work queue. */
const DETACH_CHECKS = 5;
const DETACH_CHECK_PAUSE_MS = 10;

export interface LinuxLoopDevicesOptions {
  /** LOOP_SET_FD and LOOP_SET_STATUS64 even where the kernel has LOOP_CONFIGURE. */
  readonly legacyConfigure?: boolean;
}

function indexOf(operation: string, path: string): number {
  const digits = /^\/dev\/loop(\d{1,7})$/.exec(path)?.[1];
  if (digits !== undefined) return Number(digits);
  throw new NativeError({
    code: "NATIVE_INVALID",
    operation,
    object: JSON.stringify(path),
    reason: "it is no loop device's path",
    hint: "Write it as /dev/loopN.",
  });
}

function nodeError(operation: string, object: string, cause: unknown): NativeError {
  return nativeErrorFromErrno({ operation, object, errno: errnoOfNodeError(cause), cause });
}

async function statOf(path: string): Promise<BigIntStats> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    throw nodeError("stat", path, error);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (errnoOfNodeError(error) === ERRNO.ENOENT) return false;
    throw nodeError("access", path, error);
  }
}

/** Undefined where the device has no backing file (the attribute's folder is not there then). */
async function backingFileOf(index: number): Promise<string | undefined> {
  const path = `/sys/block/loop${index}/loop/backing_file`;
  try {
    // One newline is the kernel's; more could be the path's own.
    return (await readFile(path, "utf8")).replace(/\n$/, "");
  } catch (error) {
    const errno = errnoOfNodeError(error);
    if (errno === ERRNO.ENOENT || errno === ERRNO.ENODEV || errno === ERRNO.ENXIO) return undefined;
    throw nodeError("read", path, error);
  }
}

/** From sysfs: with the module's parameter max_part the minor is not the index. */
async function devOf(index: number): Promise<DevNumber> {
  const path = `/sys/block/loop${index}/dev`;
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw nodeError("read", path, error);
  }
  const [major, minor] = text.trim().split(":").map(Number);
  if (major === LOOP_MAJOR && minor !== undefined && Number.isInteger(minor)) {
    return { major, minor };
  }
  throw new NativeError({
    code: "NATIVE_PARSE",
    operation: "read",
    object: path,
    reason: `${JSON.stringify(text)} is no device number of major ${LOOP_MAJOR}`,
    hint: "Report this: sysfs has another form than expected.",
  });
}

function toStatus(
  index: number,
  dev: DevNumber,
  info: LoopInfo,
  backingFile: string | undefined,
): LoopStatus {
  return {
    index,
    path: `/dev/loop${index}`,
    dev,
    backingDevice: info.device,
    backingInode: info.inode,
    // The ioctl's own name is cut at 63 bytes: second best, where the file went away meanwhile.
    backingFile: backingFile ?? info.fileName,
    offsetBytes: info.offsetBytes,
    sizeLimitBytes: info.sizeLimitBytes,
    readOnly: (info.flags & loop.LO_FLAGS_READ_ONLY) !== 0,
    autoclear: (info.flags & loop.LO_FLAGS_AUTOCLEAR) !== 0,
    directIo: (info.flags & loop.LO_FLAGS_DIRECT_IO) !== 0,
  };
}

async function readStatus(index: number, fd: number): Promise<LoopStatus> {
  const bytes = Buffer.alloc(loop.LOOP_INFO64_BYTES);
  const outcome = await ioctl(fd, loop.LOOP_GET_STATUS64, bytes);
  expectResult(outcome, {
    operation: "LOOP_GET_STATUS64",
    object: `/dev/loop${index}`,
    ...(outcome.errno === ERRNO.ENXIO
      ? { reason: "no file is attached", hint: "See losetup --list for those that have one." }
      : {}),
  });
  const info = loop.decodeLoopInfo(bytes);
  return toStatus(index, await devOf(index), info, await backingFileOf(index));
}

/** Of a device bound here a moment ago: where it can't be had (no descriptor is left), it goes again. */
async function statusOfOurs(index: number, fd: number): Promise<LoopStatus> {
  try {
    return await readStatus(index, fd);
  } catch (error) {
    // Else nobody would know of it. The first error is the one to tell.
    await ioctl(fd, loop.LOOP_CLR_FD, 0);
    throw error;
  }
}

/** Takes the node that the kernel or udev makes; makes it where nobody else does. */
async function ensureNode(index: number): Promise<void> {
  const path = `/dev/loop${index}`;
  const udevRuns = await exists("/run/udev/control");
  const waits = udevRuns ? NODE_WAIT_TRIES : 0;
  for (let tries = 0; tries < waits; tries += 1) {
    if (await exists(path)) return;
    await delay(NODE_WAIT_PAUSE_MS);
  }
  if (await exists(path)) return;
  const dev = stDevOf(await devOf(index));
  const made = await mknod.async(path, MODE_BLOCK_DEVICE | 0o600, dev);
  // EEXIST: somebody was faster, which is as good.
  if (made.result < 0 && made.errno !== ERRNO.EEXIST) {
    throw nativeErrorFromErrno({ operation: "mknod", object: path, errno: made.errno });
  }
}

async function freeIndex(): Promise<number> {
  if (!(await exists(CONTROL))) {
    throw new NativeError({
      code: "NATIVE_UNSUPPORTED",
      operation: "LOOP_CTL_GET_FREE",
      object: CONTROL,
      reason: "this kernel has no loop devices",
      hint: "Load the module: modprobe loop.",
    });
  }
  return withDescriptor(CONTROL, O_RDWR, async (fd) =>
    expectResult(await ioctl(fd, loop.LOOP_CTL_GET_FREE, 0), {
      operation: "LOOP_CTL_GET_FREE",
      object: CONTROL,
    }),
  );
}

/** EAGAIN is the kernel's way to say that its page cache was not empty yet. */
async function ioctlAgain(
  fd: number,
  request: number,
  argument: IoctlArgument,
): Promise<SyscallResult> {
  for (let tries = 1; ; tries += 1) {
    const outcome = await ioctl(fd, request, argument);
    const again = outcome.result < 0 && outcome.errno === ERRNO.EAGAIN;
    if (!again || tries >= MAX_AGAIN_TRIES) return outcome;
    await delay(AGAIN_PAUSE_MS);
  }
}

/** What an attach binds: checked once, used for every try. */
interface Binding {
  readonly backingFd: number;
  readonly blockSizeBytes: number;
  readonly settings: LoopSettings;
}

export class LinuxLoopDevices implements LoopDevices {
  #legacyConfigure: boolean;
  /** Descriptors of the autoclear devices attached here, by path: see `attach`. */
  readonly #held = new Map<string, number>();

  constructor(options: LinuxLoopDevicesOptions = {}) {
    this.#legacyConfigure = options.legacyConfigure === true;
  }

  /** Gives up the autoclear devices held open here: those that nobody else has open are detached. */
  async close(): Promise<void> {
    for (const path of this.#held.keys()) await this.#letGo(path);
  }

  /**
   * An autoclear device would be gone at the end of this call, so it is held open here until
   * `detach`, `close`, or the end of the process, by whatever cause.
   */
  async attach(options: LoopAttachOptions): Promise<LoopStatus> {
    const { backingFile, readOnly = false, autoclear = false, directIo = false } = options;
    checkPath("LOOP_CONFIGURE", backingFile);
    const settings: LoopSettings = {
      offsetBytes: options.offsetBytes ?? 0n,
      sizeLimitBytes: options.sizeLimitBytes ?? 0n,
      flags:
        (readOnly ? loop.LO_FLAGS_READ_ONLY : 0) |
        (autoclear ? loop.LO_FLAGS_AUTOCLEAR : 0) |
        (directIo ? loop.LO_FLAGS_DIRECT_IO : 0),
      fileName: backingFile,
    };
    return withDescriptor(backingFile, readOnly ? O_RDONLY : O_RDWR, async (backingFd) => {
      const binding = { backingFd, settings, blockSizeBytes: options.blockSizeBytes ?? 0 };
      for (let tries = 0; tries < MAX_ATTACH_TRIES; tries += 1) {
        const status = await this.#tryAttach(await freeIndex(), binding);
        if (status !== "taken") return status;
        await delay(Math.random() * MAX_RETRY_PAUSE_MS);
      }
      throw new NativeError({
        code: "NATIVE_TIMEOUT",
        operation: "LOOP_CONFIGURE",
        object: backingFile,
        reason: `other processes took the free device ${MAX_ATTACH_TRIES} times`,
        hint: "See what attaches so many loop devices: losetup --list.",
      });
    });
  }

  async #tryAttach(index: number, binding: Binding): Promise<LoopStatus | "taken"> {
    await ensureNode(index);
    const path = `/dev/loop${index}`;
    const readOnly = (binding.settings.flags & loop.LO_FLAGS_READ_ONLY) !== 0;
    const fd = await openDescriptor(path, readOnly ? O_RDONLY : O_RDWR);
    let hold = false;
    try {
      if (!(await this.#bind(fd, path, binding))) return "taken";
      const status = await statusOfOurs(index, fd);
      hold = status.autoclear;
      // A stale entry: that device was cleared behind our back, and its descriptor is of no use.
      if (hold) await this.#letGo(path);
      if (hold) this.#held.set(path, fd);
      return status;
    } finally {
      if (!hold) await closeDescriptor(fd);
    }
  }

  /** False where another process was faster. */
  async #bind(fd: number, path: string, binding: Binding): Promise<boolean> {
    const { backingFd, blockSizeBytes, settings } = binding;
    if (!this.#legacyConfigure) {
      const config = loop.encodeLoopConfig(backingFd, blockSizeBytes, settings);
      const { result, errno } = await ioctl(fd, loop.LOOP_CONFIGURE, config);
      if (result >= 0) return true;
      if (errno === ERRNO.EBUSY) return false;
      // Kernels before 5.8 answer EINVAL or ENOTTY. A newer one answers EINVAL to a bad argument:
      // the older calls then give the same answer.
      if (errno !== ERRNO.EINVAL && errno !== ERRNO.ENOTTY) {
        throw bindError("LOOP_CONFIGURE", path, errno, settings);
      }
      if (errno === ERRNO.ENOTTY) this.#legacyConfigure = true;
    }
    const set = await ioctl(fd, loop.LOOP_SET_FD, backingFd);
    if (set.result < 0) {
      if (set.errno === ERRNO.EBUSY) return false;
      throw bindError("LOOP_SET_FD", path, set.errno, settings);
    }
    try {
      await configureInSteps(fd, path, binding);
    } catch (error) {
      // Ours since LOOP_SET_FD: nobody else's device is cleared. The first error is the one to tell.
      await ioctl(fd, loop.LOOP_CLR_FD, 0);
      throw error;
    }
    return true;
  }

  async detach(path: string): Promise<"detached" | "deferred"> {
    const index = indexOf("LOOP_CLR_FD", path);
    await this.#requireLoop(path, index);
    const before = await withDescriptor(path, O_RDONLY, async (fd) => {
      const status = await readStatus(index, fd);
      // Only now: an autoclear device would vanish with our last descriptor.
      await this.#letGo(path);
      const { result, errno } = await ioctl(fd, loop.LOOP_CLR_FD, 0);
      if (result < 0) {
        throw nativeErrorFromErrno({ operation: "LOOP_CLR_FD", object: path, errno });
      }
      return status;
    });
    for (let check = 0; check < DETACH_CHECKS; check += 1) {
      if ((await backingFileOf(index)) !== before.backingFile) return "detached";
      await delay(DETACH_CHECK_PAUSE_MS);
    }
    return "deferred";
  }

  async status(path: string): Promise<LoopStatus> {
    const index = indexOf("LOOP_GET_STATUS64", path);
    await this.#requireLoop(path, index);
    return withDescriptor(path, O_RDONLY, (fd) => readStatus(index, fd));
  }

  async list(): Promise<readonly LoopStatus[]> {
    const indexes = (await readdir("/sys/block"))
      .map((name) => /^loop(\d+)$/.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .toSorted((a, b) => a - b);
    const found: LoopStatus[] = [];
    for (const index of indexes) {
      if ((await backingFileOf(index)) === undefined) continue;
      try {
        found.push(await this.status(`/dev/loop${index}`));
      } catch (error) {
        // Detached between the two looks.
        if (!(error instanceof NativeError && error.code === "NATIVE_NOT_FOUND")) throw error;
      }
    }
    return found;
  }

  async findByBackingFile(path: string): Promise<readonly LoopStatus[]> {
    checkPath("stat", path);
    const { dev, ino } = await statOf(path);
    return (await this.list()).filter(
      ({ backingDevice, backingInode }) => backingDevice === dev && backingInode === ino,
    );
  }

  async refreshCapacity(path: string): Promise<void> {
    const index = indexOf("LOOP_SET_CAPACITY", path);
    await this.#requireLoop(path, index);
    await withDescriptor(path, O_RDONLY, async (fd) => {
      expectResult(await ioctl(fd, loop.LOOP_SET_CAPACITY, 0), {
        operation: "LOOP_SET_CAPACITY",
        object: path,
      });
    });
  }

  /** A node of this name could be of another device: then nothing is asked of it. */
  async #requireLoop(path: string, index: number): Promise<void> {
    const rdev = devNumberOf((await statOf(path)).rdev);
    const dev = await devOf(index);
    if (sameDevNumber(rdev, dev)) return;
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "stat",
      object: path,
      reason: `its device number is ${formatDevNumber(rdev)}, not ${formatDevNumber(dev)}`,
      hint: "The node in /dev is wrong: remove it and let udev make it anew.",
    });
  }

  async #letGo(path: string): Promise<void> {
    const fd = this.#held.get(path);
    if (fd === undefined) return;
    this.#held.delete(path);
    await closeDescriptor(fd);
  }
}

function bindError(
  operation: string,
  path: string,
  errno: number,
  { fileName }: LoopSettings,
): NativeError {
  const what = { operation, object: `${fileName} on ${path}`, errno } as const;
  if (errno !== ERRNO.EINVAL && errno !== ERRNO.EBADF) return nativeErrorFromErrno(what);
  return nativeErrorFromErrno({
    ...what,
    code: "NATIVE_INVALID",
    reason: "it is no regular file or block device, or the block size or offset does not fit",
    hint: "Give a regular file; a block size is a power of two from 512 to 4096 bytes.",
  });
}

/** The way of kernels before 5.8, on a device that LOOP_SET_FD has just bound. */
async function configureInSteps(fd: number, path: string, binding: Binding): Promise<void> {
  const { blockSizeBytes, settings } = binding;
  if (blockSizeBytes !== 0) {
    const sized = await ioctlAgain(fd, loop.LOOP_SET_BLOCK_SIZE, blockSizeBytes);
    if (sized.result < 0) throw bindError("LOOP_SET_BLOCK_SIZE", path, sized.errno, settings);
  }
  const info = loop.encodeLoopInfo(settings);
  const set = await ioctlAgain(fd, loop.LOOP_SET_STATUS64, info);
  if (set.result < 0) throw bindError("LOOP_SET_STATUS64", path, set.errno, settings);
  if ((settings.flags & loop.LO_FLAGS_DIRECT_IO) !== 0) {
    const { result, errno } = await ioctlAgain(fd, loop.LOOP_SET_DIRECT_IO, 1);
    // EINVAL: the backing file can't. It is off then, and the status says so, as with LOOP_CONFIGURE.
    if (result < 0 && errno !== ERRNO.EINVAL) {
      throw bindError("LOOP_SET_DIRECT_IO", path, errno, settings);
    }
  }
}
