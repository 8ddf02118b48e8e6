/**
 * The mount calls: fsopen(2), fsconfig(2), fsmount(2), mount_setattr(2), move_mount(2), mount(2),
 * umount2(2). Only numbers, structures and functions; what they are good for is in ../mount.
 */
import { libcFunction } from "./libc.ts";
import type { LibcFunction } from "./libc.ts";

/** Numbers of asm-generic/unistd.h; amd64 and arm64 agree on all of them. */
export const SYS_MOVE_MOUNT = 429;
export const SYS_FSOPEN = 430;
export const SYS_FSCONFIG = 431;
export const SYS_FSMOUNT = 432;
export const SYS_MOUNT_SETATTR = 442;

/** linux/mount.h */
export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;
export const FSCONFIG_SET_FLAG = 0;
export const FSCONFIG_SET_STRING = 1;
export const FSCONFIG_CMD_CREATE = 6;
export const MOVE_MOUNT_F_EMPTY_PATH = 0x04;
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
export const MOUNT_ATTR_IDMAP = 0x0010_0000;
/** linux/fcntl.h */
export const AT_EMPTY_PATH = 0x1000;
/** linux/mount.h, sys/mount.h */
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

/** struct mount_attr: attr_set, attr_clr, propagation, userns_fd, each u64 (MOUNT_ATTR_SIZE_VER0). */
export const MOUNT_ATTR_BYTES = 32;

/** syscall(2) in the forms that the mount calls have. */
export const syscallFsopen: LibcFunction = libcFunction(
  "long syscall(long number, const char *type, long flags)",
);
export const syscallFsconfig: LibcFunction = libcFunction(
  "long syscall(long number, long context, long command, const char *key, const char *value, long aux)",
);
export const syscallFsmount: LibcFunction = libcFunction(
  "long syscall(long number, long context, long flags, long attributes)",
);
export const syscallMountSetattr: LibcFunction = libcFunction(
  "long syscall(long number, long folder, const char *path, long flags, void *attributes, size_t size)",
);
export const syscallMoveMount: LibcFunction = libcFunction(
  "long syscall(long number, long from, const char *fromPath, long to, const char *toPath, long flags)",
);
export const mount: LibcFunction = libcFunction(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
export const umount2: LibcFunction = libcFunction("int umount2(const char *target, int flags)");
export const fchownat: LibcFunction = libcFunction(
  "int fchownat(int folder, const char *path, uint uid, uint gid, int flags)",
);
/** Reads one message of a filesystem context per call. */
export const read: LibcFunction = libcFunction("long read(int fd, void *bytes, size_t count)");

export function encodeIdMapAttribute(userNamespaceFd: number): Buffer {
  const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_IDMAP), 0);
  attributes.writeBigUInt64LE(BigInt(userNamespaceFd), 24);
  return attributes;
}
