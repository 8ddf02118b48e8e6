/** open(2) and close(2) as numbers, every descriptor close-on-exec, errors as NativeError. */
import { constants } from "node:fs";
import { NativeError } from "../errors.ts";
import { nativeErrorFromErrno } from "./errno.ts";
import type { NativeErrnoInit } from "./errno.ts";
import { close, open, syncfs } from "./libc.ts";
import type { SyscallResult } from "./libc.ts";

/** asm-generic/fcntl.h; amd64 and arm64 agree. Node has no constant for these two. */
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const O_RDONLY: number = constants.O_RDONLY;
export const O_RDWR: number = constants.O_RDWR;
export const O_EXCL: number = constants.O_EXCL;
export const O_DIRECTORY: number = constants.O_DIRECTORY;

/** The result of a call that succeeded; else throws the error that `what` and the errno make. */
export function expectResult(outcome: SyscallResult, what: Omit<NativeErrnoInit, "errno">): number {
  if (outcome.result < 0) throw nativeErrorFromErrno({ ...what, errno: outcome.errno });
  return outcome.result;
}

/** C strings end at a NUL: a path that holds one would name another file than the caller meant. */
export function checkPath(operation: string, path: string): void {
  if (path.length > 0 && !path.includes("\0")) return;
  throw new NativeError({
    code: "NATIVE_INVALID",
    operation,
    object: JSON.stringify(path),
    reason: path.length === 0 ? "the path is empty" : "the path holds a NUL",
    hint: "Give the path of a file.",
  });
}

export async function openDescriptor(path: string, flags: number): Promise<number> {
  checkPath("open", path);
  const outcome = await open.async(path, flags | O_CLOEXEC, 0);
  return expectResult(outcome, { operation: "open", object: path });
}

/** A failing close(2) has closed all the same (Linux), and tells nothing of what was asked for. */
export async function closeDescriptor(fd: number): Promise<void> {
  await close.async(fd);
}

/** All that was written to the filesystem that the descriptor is on is durable (syncfs(2)). */
export async function syncFilesystem(fd: number, path: string): Promise<void> {
  expectResult(await syncfs.async(fd), { operation: "syncfs", object: path });
}

/** Opens, hands the descriptor over, closes whatever happens. */
export async function withDescriptor<T>(
  path: string,
  flags: number,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  const fd = await openDescriptor(path, flags);
  try {
    return await use(fd);
  } finally {
    await closeDescriptor(fd);
  }
}
