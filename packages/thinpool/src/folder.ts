/** The pool's folder: its files' names, and the care that makes them last. */
import { constants } from "node:fs";
import {
  chmod,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rmdir,
  statfs,
  unlink,
} from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { PoolError } from "./errors.ts";
import { isErrno } from "./errors-from-native.ts";
import type { Undo } from "./undo.ts";

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** What a pool that is to be adopted has beside it, and what mkfs puts into the root of a filesystem. */
const OF_A_POOL: ReadonlySet<string> = new Set(["pool.lock", "data", "metadata", "lost+found"]);
/** A new ledger takes about a tenth of it, a change some pages. */
const MIN_FREE_BYTES: bigint = 1n << 20n;

/** The databases that thinpoold keeps beside the ledger. What they say is about this pool: they go with it. */
export const DAEMON_FILES = {
  keys: "keys.sqlite",
  references: "references.sqlite",
  rights: "rights.sqlite",
} as const;

export interface FolderPaths {
  readonly folder: string;
  readonly ledger: string;
  readonly lock: string;
  readonly data: string;
  readonly metadata: string;
}

export function folderPaths(folder: string): FolderPaths {
  return {
    folder,
    ledger: join(folder, "pool.sqlite"),
    lock: join(folder, "pool.lock"),
    data: join(folder, "data"),
    metadata: join(folder, "metadata"),
  };
}

export function checkFolderName(folder: string): void {
  if (isAbsolute(folder) && !folder.includes("\0")) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "check of the folder",
    object: JSON.stringify(folder),
    reason: "it is no absolute path",
    hint: "Give the pool's folder as a path that starts with a slash.",
  });
}

/** True where something is there, whatever it is; a path that can't be looked at throws. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/**
 * Makes the folder (and folders above it) or takes one that is there, if it is ours, and shuts it for
 * all others (0700); POOL_OPTION_INVALID where that would take others' files away from them. Durable: so are
 * the names of all folders on the way, whoever made them, since a process may have died between making one and
 * syncing it. Returns its path without symlinks.
 */
export async function prepareFolder(folder: string, undo: Undo): Promise<string> {
  await makeFolders(folder, undo);
  const path = await realpath(folder);
  await syncNamesOf(path);
  const stat = await lstat(path);
  if (!stat.isDirectory() || stat.uid !== process.geteuid?.()) {
    throw new PoolError({
      code: stat.isDirectory() ? "POOL_PERMISSION" : "POOL_OPTION_INVALID",
      operation: "check of the folder",
      object: path,
      reason: stat.isDirectory() ? `it belongs to uid ${stat.uid}` : "it is no folder",
      hint: "Name a folder that belongs to the user who runs the pool, or one that does not exist.",
    });
  }
  if ((stat.mode & 0o777) !== FOLDER_MODE) {
    await refuseOthersFiles(path);
    const mode = stat.mode & 0o7777;
    await chmod(path, FOLDER_MODE);
    undo.push("restoring the folder's mode", () => chmod(path, mode));
  }
  return path;
}

/** Who shuts /var/lib, or a home, for all others takes away from them what lies in it. */
async function refuseOthersFiles(folder: string): Promise<void> {
  const names = await readdir(folder);
  const other = names.find((name) => !OF_A_POOL.has(name));
  if (other === undefined || names.includes("pool.sqlite")) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "check of the folder",
    object: folder,
    reason: `a pool's folder is shut for all other users, and this one holds ${other}`,
    hint: "Name a folder that does not exist, or an empty one; or shut it yourself (chmod 0700).",
  });
}

/**
 * POOL_NO_SPACE where the folder's filesystem is as good as full: a commit of the ledger that finds no
 * room would leave the pool in doubt (INV-7), and its files would find none either.
 */
export async function checkRoom(folder: string, operation: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder, { bigint: true });
  const freeBytes = bavail * bsize;
  if (freeBytes >= MIN_FREE_BYTES) return;
  throw new PoolError({
    code: "POOL_NO_SPACE",
    operation,
    object: folder,
    reason: `its filesystem has ${freeBytes} bytes free, and it takes ${MIN_FREE_BYTES}`,
    hint: "Free some space on the filesystem that holds the pool's folder.",
  });
}

/** Syncs each folder above, as far as the filesystem goes. */
async function syncNamesOf(path: string): Promise<void> {
  const { dev } = await lstat(path);
  for (let above = dirname(path); (await lstat(above)).dev === dev; above = dirname(above)) {
    await syncFolder(above);
    if (above === dirname(above)) return;
  }
}

/**
 * Makes what is missing of the path. Not by node:fs' `recursive`, which asks for ever where the kernel
 * lets nothing be made in a folder that is there and says ENOENT: in /proc, or below an automounter.
 */
async function makeFolders(folder: string, undo: Undo): Promise<void> {
  const missing: string[] = [];
  for (let path = folder; !(await exists(path)); path = dirname(path)) missing.push(path);
  for (const path of missing.toReversed()) {
    try {
      await mkdir(path, { mode: FOLDER_MODE });
    } catch (error) {
      // Another made it meanwhile, and may have put something into it.
      if (isErrno(error, "EEXIST")) continue;
      throw error;
    }
    undo.push(`removing ${path}`, () => rmdir(path));
  }
}

/** A file that must not exist yet, 0600, of this size without blocks, synced. */
export async function createFile(path: string, sizeBytes: bigint, undo: Undo): Promise<void> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, FILE_MODE);
  undo.push(`removing ${path}`, () => removeFile(path));
  try {
    // ftruncate(2) makes it sparse. 2^53 bytes are beyond every filesystem's largest file but zfs'.
    await file.truncate(Number(sizeBytes));
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What a process wrote that died before its own fsync lasts from here on: bytes and size. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Removes a file; one that is gone already is fine. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return;
    throw error;
  }
}

/**
 * The ledger's files. What else was removed from the folder is gone for good before: a file that came back
 * without a ledger would belong to nobody.
 */
export async function removeLedger(path: string): Promise<void> {
  await syncFolder(dirname(path));
  await removeDatabase(path);
}

/** SQLite makes all but the first beside it. */
export async function removeDatabase(path: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) await removeFile(path + suffix);
}

/**
 * In another pool than theirs their tokens would still let people in, and their keys answer for devices that
 * are gone. Durable.
 */
export async function removeDaemonFiles(folder: string): Promise<void> {
  for (const file of Object.values(DAEMON_FILES)) await removeDatabase(join(folder, file));
  await syncFolder(folder);
}

/** That files were removed lasts from here on, in whichever folders they were; one that is gone is fine. */
export async function syncFoldersOf(paths: readonly string[]): Promise<void> {
  for (const folder of new Set(paths.map((path) => dirname(path)))) {
    if (await exists(folder)) await syncFolder(folder);
  }
}

/** New names in a folder last only once the folder itself is synced. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
