/**
 * One process at a time: an exclusive flock(2) on a file that names its holder. The lock belongs to
 * the open descriptor, so it ends with the process, however that ends; the file stays.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { NativeError } from "../errors.ts";
import { checkPath, O_CLOEXEC } from "./descriptor.ts";
import { ERRNO, errnoOfNodeError, nativeErrorFromErrno } from "./errno.ts";
import { libcFunction } from "./libc.ts";

/** sys/file.h */
const LOCK_EX = 2;
const LOCK_NB = 4;
const OWNER_ONLY = 0o600;
/** A pid has 7 digits at most (PID_MAX_LIMIT is 2^22); more in the file is not ours. */
const MAX_PID_BYTES = 16;

const flock = libcFunction("int flock(int fd, int operation)");

export interface FileLock extends Disposable {
  readonly path: string;
  /** Gives the lock up; a second call does nothing. */
  release(): void;
}

function openLockFile(path: string): number {
  try {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | O_CLOEXEC;
    return openSync(path, flags, OWNER_ONLY);
  } catch (error) {
    const errno = errnoOfNodeError(error);
    if (errno === 0) throw error;
    const what = { operation: "open", object: path, errno, cause: error } as const;
    switch (errno) {
      case ERRNO.ELOOP:
        throw nativeErrorFromErrno({
          ...what,
          code: "NATIVE_INVALID",
          reason: "the lock file is a symbolic link",
          hint: "Remove the link: somebody put it there.",
        });
      case ERRNO.EACCES:
        throw nativeErrorFromErrno({
          ...what,
          reason: "the file or its folder belongs to another user",
          hint: "Run as the user that owns it.",
        });
      default:
        throw nativeErrorFromErrno(what);
    }
  }
}

/** What the holder wrote; undefined in the moment between its locking and its writing. */
function holderOf(fd: number): string | undefined {
  const bytes = Buffer.alloc(MAX_PID_BYTES);
  const length = readSync(fd, bytes, 0, MAX_PID_BYTES, 0);
  return /^\d+/.exec(bytes.toString("latin1", 0, length))?.[0];
}

/** A full filesystem refuses it; the lock holds all the same, and does not say who has it. */
function writePid(fd: number): void {
  try {
    writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    if (![ERRNO.ENOSPC, ERRNO.EDQUOT].includes(errnoOfNodeError(error))) throw error;
  }
}

function take(fd: number, path: string): void {
  if (!fstatSync(fd).isFile()) {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "flock",
      object: path,
      reason: "it is no regular file",
      hint: "Give the path of a file that is used for nothing else.",
    });
  }
  const { errno } = flock.sync(fd, LOCK_EX | LOCK_NB);
  if (errno === 0) {
    ftruncateSync(fd, 0);
    writePid(fd);
    return;
  }
  const what = { operation: "flock", object: path, errno } as const;
  if (errno !== ERRNO.EWOULDBLOCK) throw nativeErrorFromErrno(what);
  const holder = holderOf(fd);
  throw nativeErrorFromErrno({
    ...what,
    code: "NATIVE_BUSY",
    reason: holder === undefined ? "another process holds it" : `process ${holder} holds it`,
    hint: "End that process, or wait for it to end.",
  });
}

/**
 * Takes the lock without waiting and writes this process's pid into the file (made with mode 0600).
 * Throws NATIVE_BUSY, whose reason names the holder's pid, where it is taken; a lock that this very
 * process holds counts as taken. The descriptor is not inherited by child processes.
 */
export function lockFile(path: string): FileLock {
  checkPath("flock", path);
  const fd = openLockFile(path);
  try {
    take(fd, path);
  } catch (error) {
    closeSync(fd);
    const errno = errnoOfNodeError(error);
    if (error instanceof NativeError || errno === 0) throw error;
    throw nativeErrorFromErrno({ operation: "flock", object: path, errno, cause: error });
  }
  let held = true;
  const release = (): void => {
    if (!held) return;
    held = false;
    // The file stays: removing it would let two processes lock two files of the same name.
    ftruncateSync(fd, 0);
    closeSync(fd);
  };
  return { path, release, [Symbol.dispose]: release };
}
