/** Waiting on Node's own loop until a descriptor is readable: no thread is held, however long it takes. */
import { readFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import koffi from "koffi";
import { ERRNO, nativeErrorFromErrno } from "./errno.ts";
import { libcFunction, poll } from "./libc.ts";

const POLLIN = 1;
const POLLNVAL = 32;
/** RTLD_LAZY, RTLD_NOLOAD and RTLD_NODELETE (dlfcn.h; glibc and musl agree). */
const STAY_LOADED = 0x1 | 0x4 | 0x1000;

export interface ReadableWait {
  /** 0 to 2147483647. */
  readonly timeoutMs: number;
  /** Aborting ends the wait, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** False: the wait does not keep the process alive. Default: true. */
  readonly ref?: boolean;
}

/** Asks without waiting. An error or hang-up counts: whoever reads next is told of it. */
function isReadable(fd: number): boolean {
  // struct pollfd: int fd, short events, short revents.
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  request.writeInt16LE(POLLIN, 4);
  const { result, errno } = poll.sync(request, 1, 0);
  // poll(2) passes over negative descriptors.
  const isClosed = fd < 0 || (request.readInt16LE(6) & POLLNVAL) !== 0;
  if (result >= 0 && !isClosed) return result > 0;
  throw nativeErrorFromErrno({
    operation: "poll",
    object: `descriptor ${fd}`,
    errno: isClosed ? ERRNO.EBADF : errno,
  });
}

let staysLoaded = isMainThread;

/**
 * Node unloads koffi with the last thread that has it. Where that one is terminated in a wait, libuv's last
 * call to koffi would come after that, and end the process.
 */
function keepLoaded(): void {
  if (staysLoaded) return;
  const dlopen = libcFunction("intptr_t dlopen(const char *path, int flags)");
  const maps = readFileSync("/proc/self/maps", "utf8");
  for (const [path] of maps.matchAll(/(?<= )\/.*\/koffi\.node$/gm)) dlopen.sync(path, STAY_LOADED);
  staysLoaded = true;
}

/**
 * True when the descriptor is readable, false when the time passed first. One wait at a time for each
 * descriptor; it must stay open until the wait has ended.
 */
export async function waitReadable(fd: number, options: ReadableWait): Promise<boolean> {
  const { timeoutMs, signal, ref = true } = options;
  signal?.throwIfAborted();
  // koffi ends the process where it is to watch what is no open descriptor.
  if (isReadable(fd)) return true;
  if (timeoutMs === 0) return false;
  keepLoaded();
  const { promise, resolve } = Promise.withResolvers<void>();
  // koffi calls back outside of any turn of Node's: what a promise wakes would wait for the next one.
  const watch = koffi.node.poll(fd, { readable: true }, () => setImmediate(resolve));
  const timer = setTimeout(resolve, timeoutMs);
  const onAbort = (): void => resolve();
  signal?.addEventListener("abort", onAbort, { once: true });
  if (!ref) {
    watch.unref();
    timer.unref();
  }
  try {
    await promise;
  } finally {
    watch.close();
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
  signal?.throwIfAborted();
  // Asked anew: after the timer too, which may come first where both are due in one turn.
  return isReadable(fd);
}
