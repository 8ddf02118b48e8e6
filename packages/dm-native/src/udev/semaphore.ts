/** System V semaphores (semget(2), semctl(2), semop(2)), as far as udev cookies need them. */
import { randomInt } from "node:crypto";
import { ERRNO, nativeErrorFromErrno } from "../sys/errno.ts";
import { libcFunction } from "../sys/libc.ts";
import type { LongWaitLane } from "../sys/long-wait.ts";

/** The upper 16 bits of every cookie's key (libdevmapper.h, DM_COOKIE_MAGIC). */
export const COOKIE_MAGIC = 0x0d4d;
const MAX_LOW_HALF = 0xffff;
/** Random keys tried before giving up; others' cookies are few. */
const MAX_KEY_ATTEMPTS = 32;

const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const IPC_NOWAIT = 0o4000;
const IPC_RMID = 0;
const SETVAL = 16;
const GETVAL = 12;
const ONLY_FOR_OWNER = 0o600;
/** asm-generic/errno.h; Node's table has no EIDRM. */
const EIDRM = 43;

const semget = libcFunction("int semget(int key, int count, int flags)");
const semctl = libcFunction("int semctl(int id, int number, int command, long value)");
const semtimedop = libcFunction(
  "int semtimedop(int id, void *operations, size_t count, const void *timeout)",
);

export interface Semaphore {
  readonly id: number;
  /** The lower half of its key: what travels with the uevent. */
  readonly lowHalf: number;
}

/** struct sembuf: unsigned short number, short operation, short flags. */
function operation(change: number, flags: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeInt16LE(change, 2);
  bytes.writeInt16LE(flags, 4);
  return bytes;
}

/** struct timespec on 64-bit Linux: two 64-bit numbers. */
function timespec(milliseconds: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64LE(BigInt(Math.floor(milliseconds / 1000)), 0);
  bytes.writeBigInt64LE(BigInt(milliseconds % 1000) * 1_000_000n, 8);
  return bytes;
}

/** A new semaphore under a free key with the value 1: one uevent is awaited. */
export function createSemaphore(): Semaphore {
  let errno = 0;
  for (let attempt = 0; attempt < MAX_KEY_ATTEMPTS; attempt += 1) {
    const lowHalf = randomInt(1, MAX_LOW_HALF + 1);
    const key = ((COOKIE_MAGIC << 16) | lowHalf) >>> 0;
    const made = semget.sync(key, 1, IPC_CREAT | IPC_EXCL | ONLY_FOR_OWNER);
    if (made.result >= 0) {
      const semaphore = { id: made.result, lowHalf };
      const set = semctl.sync(semaphore.id, 0, SETVAL, 1);
      if (set.result === 0) return semaphore;
      destroySemaphore(semaphore);
      errno = set.errno;
      break;
    }
    errno = made.errno;
    if (errno !== ERRNO.EEXIST) break;
  }
  throw nativeErrorFromErrno({
    operation: "semget",
    object: "a udev cookie",
    errno,
    ...(errno === ERRNO.ENOSPC
      ? {
          reason: "the limit of semaphores is reached",
          hint: "Remove those left behind (dmsetup udevcomplete_all), or raise kernel.sem.",
        }
      : {}),
  });
}

/** Counts down by one, as udev does when its rules are through. */
export function decrementSemaphore(semaphore: Semaphore): void {
  const done = semtimedop.sync(semaphore.id, operation(-1, IPC_NOWAIT), 1, null);
  // EAGAIN: it is zero already; EIDRM, EINVAL: somebody removed it. In each case nobody waits.
  if (done.result === 0 || [ERRNO.EAGAIN, EIDRM, ERRNO.EINVAL].includes(done.errno)) return;
  throw nativeErrorFromErrno({ operation: "semop", object: "a udev cookie", errno: done.errno });
}

export function semaphoreValue(semaphore: Semaphore): number {
  return semctl.sync(semaphore.id, 0, GETVAL, 0).result;
}

/** True when the semaphore reached zero or was removed, false when the time was up. */
export async function waitForZero(
  lane: LongWaitLane,
  semaphore: Semaphore,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const leftMs = Math.max(0, Math.ceil(deadline - performance.now()));
    const waited = await lane.run(semtimedop, [semaphore.id, operation(0, 0), 1, timespec(leftMs)]);
    if (waited.result === 0 || waited.errno === EIDRM || waited.errno === ERRNO.EINVAL) return true;
    if (waited.errno === ERRNO.EAGAIN) return false;
    // EINTR: a signal came; wait on with what is left of the time.
    if (waited.errno !== ERRNO.EINTR) {
      throw nativeErrorFromErrno({
        operation: "semtimedop",
        object: "a udev cookie",
        errno: waited.errno,
      });
    }
  }
}

/** Removes it. One that is gone already is as good. */
export function destroySemaphore(semaphore: Semaphore): void {
  const removed = semctl.sync(semaphore.id, 0, IPC_RMID, 0);
  if (removed.result === 0 || [EIDRM, ERRNO.EINVAL].includes(removed.errno)) return;
  throw nativeErrorFromErrno({
    operation: "semctl(IPC_RMID)",
    object: "a udev cookie",
    errno: removed.errno,
  });
}
