/** openat2(2): opening a path while refusing symlinks on all of it (Linux 5.6). */
import { expectResult, checkPath, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./descriptor.ts";
import { ERRNO } from "./errno.ts";
import { libcFunction } from "./libc.ts";

/** asm-generic/unistd.h; amd64 has the same number. */
const SYS_OPENAT2 = 437;
const AT_FDCWD = -100;
/** linux/openat2.h */
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
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
