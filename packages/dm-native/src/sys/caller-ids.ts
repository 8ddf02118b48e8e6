/**
 * File access with another user's rights: setfsuid(2), setfsgid(2) and setgroups(2) of this thread
 * only. With a file-system uid other than 0 the kernel takes away what lets root pass over file
 * permissions (capabilities(7), "effect of user ID changes"), so each step of a path is checked as
 * that user's own.
 *
 * All of it happens synchronously, so no other code of this process runs with these ids; other threads
 * keep theirs.
 */
import { NativeError } from "../errors.ts";
import { nativeErrorFromErrno } from "./errno.ts";
import { libcFunction } from "./libc.ts";

export interface CallerIds {
  readonly uid: number;
  readonly gid: number;
  /** The supplementary groups. */
  readonly groups: readonly number[];
}

/** asm/unistd_64.h and asm-generic/unistd.h. glibc's own setgroups changes all threads. */
const SYS_SETGROUPS: Readonly<Partial<Record<NodeJS.Architecture, number>>> = {
  x64: 116,
  arm64: 159,
};
/** NGROUPS_MAX */
const MAX_GROUPS = 65_536;
/** No id: these calls then change nothing and return the present one. */
const ASK = 0xffff_ffff;

const setfsuid = libcFunction("int setfsuid(uint uid)");
const setfsgid = libcFunction("int setfsgid(uint gid)");
const getgroups = libcFunction("int getgroups(int size, void *groups)");
const syscallSetgroups = libcFunction("long syscall(long number, long size, const void *groups)");

function refuse(reason: string): NativeError {
  return new NativeError({
    code: "NATIVE_PERMISSION",
    operation: "setfsuid",
    object: "this thread",
    reason,
    hint: "Run as root, with CAP_SETUID and CAP_SETGID.",
  });
}

function ownGroups(): Buffer {
  const list = Buffer.alloc(MAX_GROUPS * 4);
  const { result, errno } = getgroups.sync(MAX_GROUPS, list);
  if (result < 0) throw nativeErrorFromErrno({ operation: "getgroups", object: "", errno });
  return list.subarray(0, result * 4);
}

function setGroups(list: Buffer): void {
  const number = SYS_SETGROUPS[process.arch];
  if (number === undefined) throw refuse(`setgroups(2) is not known of ${process.arch}`);
  const { result, errno } = syscallSetgroups.sync(number, list.length / 4, list);
  if (result < 0) {
    throw nativeErrorFromErrno({ operation: "setgroups", object: "this thread", errno });
  }
}

/** Ids have 32 bits; these calls return them as an int. */
function asId(result: number): number {
  return result >>> 0;
}

function setIds(uid: number, gid: number): void {
  setfsgid.sync(gid);
  setfsuid.sync(uid);
  // They report nothing: asking again tells whether it was done.
  if (asId(setfsuid.sync(ASK).result) === uid && asId(setfsgid.sync(ASK).result) === gid) return;
  throw refuse(`the kernel did not take uid ${uid} and gid ${gid}`);
}

/**
 * Runs `work`, which must be synchronous, with that user's rights to files. Ends the process where the
 * thread's own ids can't be brought back. A process without privileges can only be who it is.
 */
export function withCallerIds<T>(ids: CallerIds, work: () => T): T {
  const { uid, gid, groups } = ids;
  const own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  if (own.uid === uid) return work();
  if (own.uid !== 0) throw refuse(`uid ${own.uid} can't act as uid ${uid}`);
  const list = Buffer.alloc(groups.length * 4);
  groups.forEach((group, index) => list.writeUInt32LE(group, index * 4));
  const before = ownGroups();
  try {
    setGroups(list);
    setIds(uid, gid);
    return work();
  } finally {
    try {
      setIds(own.uid, own.gid);
      setGroups(before);
    } catch (error) {
      process.stderr.write(`the thread's ids can't be brought back: ${String(error)}\n`);
      process.abort();
    }
  }
}
