/** openat2(2): opening a path while refusing symlinks on all of it (Linux 5.6). */
import { NativeError } from "../errors.ts";
import type { CallerIds } from "./caller-ids.ts";
import { withCallerIds } from "./caller-ids.ts";
import { checkPath, expectResult, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./descriptor.ts";
import { ERRNO } from "./errno.ts";
import { close, libcFunction } from "./libc.ts";
import type { SyscallResult } from "./libc.ts";

/** asm-generic/unistd.h; amd64 has the same number. */
const SYS_OPENAT2 = 437;
const AT_FDCWD = -100;
/** linux/openat2.h */
const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const RESOLVE_IN_ROOT = 0x10;
/** sizeof(struct open_how): flags u64, mode u64, resolve u64. */
const OPEN_HOW_BYTES = 24;

const openat2 = libcFunction(
  "long syscall(long number, long folder, const char *path, void *how, size_t size)",
);

function openHow(flags: number, resolve: number): Buffer {
  const how = Buffer.alloc(OPEN_HOW_BYTES);
  how.writeBigUInt64LE(BigInt(flags), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return how;
}

/**
 * Opens an existing folder by an absolute path, close-on-exec; no symlink and no magic link of
 * /proc is followed anywhere on the way. `flags` come on top of O_DIRECTORY: O_PATH pins the folder
 * without opening it. The caller closes it.
 *
 * Throws NATIVE_INVALID for a symlink on the way or a path that is no folder, NATIVE_NOT_FOUND
 * where it does not exist.
 */
export async function openFolderWithoutSymlinks(
  path: string,
  flags: number = O_PATH,
): Promise<number> {
  checkPath("openat2", path);
  const how = openHow(flags | O_DIRECTORY | O_CLOEXEC, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  const outcome = await openat2.async(SYS_OPENAT2, AT_FDCWD, path, how, OPEN_HOW_BYTES);
  return expectFolder(outcome, path);
}

/** The same on this thread, for one that may be in another mount namespace than the process. */
export function pinFolderWithoutSymlinks(path: string): SyscallResult {
  const how = openHow(
    O_PATH | O_DIRECTORY | O_CLOEXEC,
    RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  );
  return openat2.sync(SYS_OPENAT2, AT_FDCWD, path, how, OPEN_HOW_BYTES);
}

/** One entry of an open folder, as `openFolderWithoutSymlinks` opens the whole way. */
export async function openEntryWithoutSymlinks(folderFd: number, name: string): Promise<number> {
  const how = openHow(
    O_PATH | O_DIRECTORY | O_CLOEXEC,
    RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH,
  );
  return expectFolder(await openat2.async(SYS_OPENAT2, folderFd, name, how, OPEN_HOW_BYTES), name);
}

/**
 * Pins the folder at `path`, relative and of any length, below an open folder: O_PATH, close-on-exec.
 * The kernel itself refuses a way that leads out (`..`, absolute), over a symlink or a magic link, or into
 * another mount, whatever others rename meanwhile. The caller closes it.
 *
 * Throws as `openFolderWithoutSymlinks`, and NATIVE_INVALID where the way would lead out.
 */
export async function openFolderBeneath(folderFd: number, path: string): Promise<number> {
  checkPath("openat2", path);
  const how = openHow(
    O_PATH | O_DIRECTORY | O_CLOEXEC,
    RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  );
  return expectFolder(await openat2.async(SYS_OPENAT2, folderFd, path, how, OPEN_HOW_BYTES), path);
}

/**
 * Opens the folder `path`, which lies below `root`, with the caller's own rights to every step of the
 * way: O_PATH, close-on-exec, all of it synchronous. Neither a symlink nor another mount is crossed between the two, so a
 * filesystem of the caller's own (FUSE) is never asked. The caller closes it.
 *
 * Throws as `openFolderWithoutSymlinks`, and NATIVE_PERMISSION where the caller may not go there,
 * NATIVE_INVALID where a mount is on the way or in its place.
 */
export function openFolderAsCaller(options: {
  /** Absolute, without symlinks: an administrator's word. */
  readonly root: string;
  readonly path: string;
  readonly ids: CallerIds;
  /** What "/" is: a caller's own, in another mount namespace; default: this process's. */
  readonly topDescriptor?: number | undefined;
}): number {
  const { root, path, ids, topDescriptor } = options;
  checkPath("openat2", path);
  const prefix = root === "/" ? "/" : `${root}/`;
  if (!path.startsWith(prefix) || path.length === prefix.length) {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "openat2",
      object: path,
      reason: `it does not lie below ${root}`,
      hint: `Give a folder below ${root}.`,
    });
  }
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  const resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const open = (at: number, name: string, more: number): SyscallResult =>
    withCallerIds(ids, () =>
      openat2.sync(SYS_OPENAT2, at, name, openHow(flags, resolve | more), OPEN_HOW_BYTES),
    );
  const rootFd = expectFolder(
    topDescriptor === undefined
      ? open(AT_FDCWD, root, 0)
      : open(topDescriptor, root, RESOLVE_IN_ROOT),
    root,
  );
  try {
    const below = RESOLVE_BENEATH | RESOLVE_NO_XDEV;
    return expectFolder(open(rootFd, path.slice(prefix.length), below), path);
  } finally {
    // On this thread: letting go of a pinned folder waits for nothing.
    close.sync(rootFd);
  }
}

function expectFolder(outcome: SyscallResult, path: string): number {
  const what = { operation: "openat2", object: path } as const;
  switch (outcome.result < 0 ? outcome.errno : 0) {
    case ERRNO.ELOOP:
      return expectResult(outcome, {
        ...what,
        code: "NATIVE_INVALID",
        reason: "a symbolic link is on the way, and none is followed",
        hint: "Give the path without symbolic links, as realpath(1) prints it.",
      });
    case ERRNO.ENOTDIR:
      return expectResult(outcome, {
        ...what,
        code: "NATIVE_INVALID",
        reason: "it is no folder",
        hint: "Give the path of an existing folder.",
      });
    case ERRNO.EACCES:
      return expectResult(outcome, {
        ...what,
        reason: "the way to it is closed to this user",
        hint: "Give a folder that this user can enter.",
      });
    case ERRNO.EXDEV:
      return expectResult(outcome, {
        ...what,
        code: "NATIVE_INVALID",
        reason: "it leads out, or another filesystem is mounted there or on the way",
        hint: "Give a folder on the filesystem of the allowed root.",
      });
    case ERRNO.ENOENT:
      return expectResult(outcome, {
        ...what,
        reason: "there is no such folder",
        hint: "Make the folder first.",
      });
    case ERRNO.ENOSYS:
      return expectResult(outcome, { ...what, hint: "Linux 5.6 or newer is needed." });
    default:
      return expectResult(outcome, what);
  }
}
