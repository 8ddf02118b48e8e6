/**
 * The process at the other end of a Unix socket, pinned, so that its number can't come to mean another
 * one: SO_PEERPIDFD (Linux 6.5), else pidfd_open(2) of the number that SO_PEERCRED gave.
 *
 * The latter can't tell a process from one that took its number before the connection was accepted: so
 * that one must be of the same user, and have begun before.
 */
import { readFileSync } from "node:fs";
import { ERRNO, nativeErrorFromErrno } from "./errno.ts";
import { close, libcFunction } from "./libc.ts";
import type { PeerCredentials } from "./peer-credentials.ts";
import { processStat } from "./process-stat.ts";

/** asm-generic/socket.h, asm-generic/unistd.h; amd64 and arm64 agree. */
const SOL_SOCKET = 1;
const SO_PEERPIDFD = 77;
const SYS_PIDFD_OPEN = 434;
/** proc_pid_stat(5): the field "starttime" is the 20th behind the command in parentheses. */
const START_TIME_FIELD = 19;

const getsockopt = libcFunction(
  "int getsockopt(int fd, int level, int name, void *value, void *length)",
);
const syscallPidfdOpen = libcFunction("long syscall(long number, long pid, long flags)");

export class PeerProcess implements Disposable {
  readonly pid: number;
  #fd: number | undefined;

  private constructor(pid: number, fd: number) {
    this.pid = pid;
    this.#fd = fd;
  }

  /**
   * Undefined where the process is no more, or may be another one. `socket` is the accepted socket's
   * descriptor; it may be closed afterwards.
   */
  static of(socket: number, { pid, uid }: PeerCredentials): PeerProcess | undefined {
    const value = Buffer.alloc(4);
    const length = Buffer.alloc(4);
    length.writeInt32LE(value.length);
    const { errno } = getsockopt.sync(socket, SOL_SOCKET, SO_PEERPIDFD, value, length);
    if (errno === 0) return PeerProcess.#checked(pid, value.readInt32LE(), () => true);
    if (errno !== ERRNO.ENOPROTOOPT) {
      // ESRCH, ENODATA: it is gone.
      return undefined;
    }
    const before = processStat(pid)?.[START_TIME_FIELD];
    const opened = syscallPidfdOpen.sync(SYS_PIDFD_OPEN, pid, 0);
    if (opened.result < 0) {
      if (opened.errno === ERRNO.ESRCH) return undefined;
      const what = { operation: "pidfd_open", object: `process ${pid}`, errno: opened.errno };
      throw nativeErrorFromErrno(what);
    }
    return PeerProcess.#checked(
      pid,
      opened.result,
      () =>
        before !== undefined &&
        processStat(pid)?.[START_TIME_FIELD] === before &&
        userOf(pid) === uid,
    );
  }

  static #checked(pid: number, fd: number, isHe: () => boolean): PeerProcess | undefined {
    const peer = new PeerProcess(pid, fd);
    if (peer.isAlive && isHe()) return peer;
    peer.close();
    return undefined;
  }

  /**
   * While it is, its number is its own: what was opened below /proc/PID before this was true belongs to
   * it.
   */
  get isAlive(): boolean {
    if (this.#fd === undefined) return false;
    try {
      const text = readFileSync(`/proc/self/fdinfo/${this.#fd}`, "utf8");
      return new RegExp(`^Pid:\t${this.pid}$`, "m").test(text);
    } catch {
      return false;
    }
  }

  close(): void {
    if (this.#fd !== undefined) close.sync(this.#fd);
    this.#fd = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function userOf(pid: number): number | undefined {
  try {
    const uids = /^Uid:\t(\d+)\t/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return uids === null ? undefined : Number(uids[1]);
  } catch {
    return undefined;
  }
}
