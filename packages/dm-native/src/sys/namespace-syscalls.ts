/**
 * What entering another mount namespace takes: unshare(2), setns(2), fchdir(2), openat(2), statx(2). Only
 * for the one thread of a short-lived child (../mount/namespace-child.ts).
 */
import { libcFunction } from "./libc.ts";
import type { LibcFunction } from "./libc.ts";

/** linux/sched.h */
export const CLONE_FS = 0x200;
export const CLONE_NEWNS = 0x2_0000;
/** linux/fcntl.h */
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
/** linux/stat.h: struct statx has 256 bytes; stx_mask is at 0, stx_mnt_id at 144. Linux 5.8. */
const STATX_MNT_ID = 0x1000;
const STATX_BYTES = 256;
const STATX_MNT_ID_OFFSET = 144;

export const unshare: LibcFunction = libcFunction("int unshare(int flags)");
export const setns: LibcFunction = libcFunction("int setns(int fd, int type)");
export const fchdir: LibcFunction = libcFunction("int fchdir(int fd)");
export const openat: LibcFunction = libcFunction(
  "int openat(int folder, const char *path, int flags, uint mode)",
);
const statx = libcFunction(
  "int statx(int folder, const char *path, int flags, uint mask, void *result)",
);

/** The id of the mount that a name of an open folder leads to, or the folder itself (""). */
export function mountIdAt(
  folder: number,
  name: string,
): { readonly errno: number; readonly mountId: number } {
  const result = Buffer.alloc(STATX_BYTES);
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name === "" ? AT_EMPTY_PATH : 0);
  const { errno } = statx.sync(folder, name, flags, STATX_MNT_ID, result);
  return { errno, mountId: Number(result.readBigUInt64LE(STATX_MNT_ID_OFFSET)) };
}
