/** ioctl(2) in three speeds. The argument is a structure (read and written in place) or an integer. */
import { fdatasync, ioctlInteger, ioctlPointer } from "./libc.ts";
import type { LibcFunction, SyscallResult } from "./libc.ts";
import type { LongWaitLane, LongWaitOptions } from "./long-wait.ts";

export type IoctlArgument = Uint8Array | number;

function form(argument: IoctlArgument): LibcFunction {
  return typeof argument === "number" ? ioctlInteger : ioctlPointer;
}

/** On this thread: only for commands that cannot wait for I/O. */
export function ioctlSync(fd: number, request: number, argument: IoctlArgument): SyscallResult {
  return form(argument).sync(fd, request, argument);
}

/** On libuv's pool: for commands that wait no longer than a disk does. */
export function ioctl(
  fd: number,
  request: number,
  argument: IoctlArgument,
): Promise<SyscallResult> {
  return form(argument).async(fd, request, argument);
}

/** On a thread of the lane: for commands that may wait long. The structure is written back in place. */
export function ioctlLong(
  lane: LongWaitLane,
  fd: number,
  request: number,
  argument: IoctlArgument,
  options?: LongWaitOptions,
): Promise<SyscallResult> {
  return lane.run(form(argument), [fd, request, argument], options);
}

export interface IoctlCall {
  readonly request: number;
  readonly argument: IoctlArgument;
}

/**
 * As `ioctlLong`, one after another on one thread, up to the first that fails. `syncFirst`: the first of all
 * is an fdatasync(2) of this file.
 */
export function ioctlLongAll(
  lane: LongWaitLane,
  fd: number,
  calls: readonly IoctlCall[],
  syncFirst?: number,
): Promise<readonly SyscallResult[]> {
  const ioctls = calls.map(({ request, argument }) => ({
    fn: form(argument),
    args: [fd, request, argument],
  }));
  return lane.runAll(
    syncFirst === undefined ? ioctls : [{ fn: fdatasync, args: [syncFirst] }, ...ioctls],
  );
}

const DIRECTION_NONE = 0;
const DIRECTION_WRITE = 1;
const DIRECTION_READ = 2;

function encode(direction: number, type: number, number: number, sizeBytes: number): number {
  // asm-generic/ioctl.h: 8 bits number, 8 bits type, 14 bits size, 2 bits direction.
  return ((direction << 30) | (sizeBytes << 16) | (type << 8) | number) >>> 0;
}

/** _IO(type, number) */
export function requestNone(type: number, number: number): number {
  return encode(DIRECTION_NONE, type, number, 0);
}

/** _IOR(type, number, size) */
export function requestRead(type: number, number: number, sizeBytes: number): number {
  return encode(DIRECTION_READ, type, number, sizeBytes);
}

/** _IOW(type, number, size) */
export function requestWrite(type: number, number: number, sizeBytes: number): number {
  return encode(DIRECTION_WRITE, type, number, sizeBytes);
}

/** _IOWR(type, number, size) */
export function requestReadWrite(type: number, number: number, sizeBytes: number): number {
  return encode(DIRECTION_READ | DIRECTION_WRITE, type, number, sizeBytes);
}
