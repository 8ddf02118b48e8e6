/**
 * A folder of the caller's own to mount on. It is opened once, with the caller's rights, and from then
 * on the descriptor is what is looked at and mounted on, never the path: a path can be made to lead
 * elsewhere at any moment.
 */
import { fstatSync, opendirSync } from "node:fs";
import { readlink, statfs } from "node:fs/promises";
import { resolve } from "node:path";
import type { CallerIds } from "@thinpool/thinpool";
import {
  NativeError,
  closeDescriptor,
  openFolderAsCaller,
  withCallerIds,
} from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";

/** PATH_MAX, with its NUL. */
const MAX_PATH_BYTES = 4095;

/** linux/magic.h and the filesystems' own headers: where a mount point is what it seems to be. */
const ORDINARY_FILESYSTEMS: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x5846_5342, // xfs
  0x9123_683e, // btrfs
  0x0102_1994, // tmpfs
  0x794c_7630, // overlayfs
  0xf2f5_2010, // f2fs
  0x2fc1_2fc1, // zfs
]);

function refuse(
  code: "INVALID_PARAMS" | "FORBIDDEN" | "BUSY",
  path: string,
  reason: string,
  hint: string,
): RequestError {
  return new RequestError({ code, operation: "mount", object: path, reason, hint });
}

/** Throws INVALID_PARAMS where it is not the one way of writing an absolute path. */
export function checkFolderPath(path: string): void {
  const plain =
    path === resolve(path) &&
    Buffer.byteLength(path) <= MAX_PATH_BYTES &&
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    !/[\u0000-\u001f\u007f]/.test(path);
  if (plain) return;
  throw refuse(
    "INVALID_PARAMS",
    JSON.stringify(path),
    "it is no absolute path in its shortest form, or it holds a control character",
    "Give the folder's path as realpath(1) prints it.",
  );
}

/** The longest of the roots that the path lies below. */
export function rootOf(path: string, roots: readonly string[]): string | undefined {
  return roots
    .filter((root) => path.startsWith(root === "/" ? "/" : `${root}/`))
    .toSorted((a, b) => b.length - a.length)
    .at(0);
}

/**
 * Opens the folder for mounting on it: an empty one, of an ordinary filesystem, that the caller owns
 * and can go to, below a root that the policy allows. `topDescriptor`: the caller's own "/", where it is
 * another than the daemon's. The caller of this closes the descriptor.
 */
export async function openMountFolder(
  path: string,
  roots: readonly string[],
  ids: CallerIds,
  topDescriptor?: number,
): Promise<number> {
  checkFolderPath(path);
  const root = rootOf(path, roots);
  if (root === undefined) {
    const allowed = roots.length === 0 ? "nowhere" : `below ${roots.join(", ")}`;
    throw refuse(
      "FORBIDDEN",
      path,
      `folders of your own may be mounted on ${allowed}`,
      "Mount without a folder, or ask an administrator to allow it in the policy.",
    );
  }
  const fd = open({ root, path, ids, topDescriptor });
  try {
    await check(fd, path, ids);
    return fd;
  } catch (error) {
    await closeDescriptor(fd);
    throw error;
  }
}

function open(options: Parameters<typeof openFolderAsCaller>[0]): number {
  const { path } = options;
  try {
    return openFolderAsCaller(options);
  } catch (error) {
    if (!(error instanceof NativeError)) throw error;
    const codes = { NATIVE_PERMISSION: "FORBIDDEN", NATIVE_NOT_FOUND: "INVALID_PARAMS" } as const;
    const code = error.code === "NATIVE_INVALID" ? "INVALID_PARAMS" : undefined;
    const known = code ?? codes[error.code as keyof typeof codes];
    if (known === undefined) throw error;
    throw refuse(known, path, error.reason, error.hint);
  }
}

async function check(fd: number, path: string, ids: CallerIds): Promise<void> {
  const { uid } = fstatSync(fd);
  if (uid !== ids.uid) {
    throw refuse(
      "FORBIDDEN",
      path,
      `it belongs to uid ${uid}, not to you`,
      "Give a folder of your own.",
    );
  }
  const link = `/proc/self/fd/${fd}`;
  const { type } = await statfs(link);
  if (!ORDINARY_FILESYSTEMS.has(type)) {
    throw refuse(
      "INVALID_PARAMS",
      path,
      `it is on a filesystem of type 0x${type.toString(16)}, where nothing is mounted upon`,
      "Give a folder on a local disk.",
    );
  }
  if ((await readlink(link)) !== path) {
    throw refuse("BUSY", path, "it was moved meanwhile", "Try again.");
  }
  if (isEmpty(link, path, ids)) return;
  throw refuse("BUSY", path, "it is not empty", "Give an empty folder.");
}

/** Looked at with the caller's rights; one entry is enough to know. */
function isEmpty(link: string, path: string, ids: CallerIds): boolean {
  return withCallerIds(ids, () => {
    try {
      const folder = opendirSync(link, { bufferSize: 1 });
      try {
        return folder.readSync() === null;
      } finally {
        folder.closeSync();
      }
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EACCES")) throw error;
      throw refuse("FORBIDDEN", path, "you may not read it", "Give a folder that you can read.");
    }
  });
}
