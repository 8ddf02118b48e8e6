/** The end of a pool: its devices, loops, files and records. */
import { readdir, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { dmNodePath, removeDeviceRetrying } from "@thinpool/dm-native";
import { dmDevicesOf } from "../dm-devices.ts";
import { poolDmUuid } from "../dm-names.ts";
import { PoolError } from "../errors.ts";
import { isErrno } from "../errors-from-native.ts";
import {
  removeDaemonFiles,
  removeFile,
  removeLedger,
  syncFolder,
  syncFoldersOf,
} from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { REMOVE_RETRY } from "../remove-retry.ts";
import { type ClosedPool, withClosedPool } from "./closed-pool.ts";
import { loopsOf } from "./leftovers.ts";
import { eraseMetadataHead } from "./metadata-head.ts";
import { removeSpools } from "./range-spool.ts";

export interface DestroyPoolOptions {
  readonly folder: string;
  readonly kernel: Kernel;
}

/**
 * Removes a pool that no process has open, with all its data: dm devices, loops, files, backups, kept
 * metadata, the daemon's records; of block devices the start of the metadata is erased, so that they are empty to others.
 * DEVICE_BUSY, and nothing has changed, while one of its devices is open or mounted. POOL_LOCKED.
 *
 * From its one commit on the folder holds no pool; a crash after that leaves files, which destroying
 * again removes.
 */
export async function destroyPool(
  options: DestroyPoolOptions,
): Promise<{ readonly outcome: "destroyed" }> {
  const destruction = { ...options, operation: "destruction", unfinished: true };
  const folder = await withClosedPool(destruction, async (pool) => {
    const { kernel, record, ledger, paths } = pool;
    await takeDown(pool);
    ledger.markPoolUncreated();
    if (record.backing === "block") {
      await eraseMetadataHead(kernel, record.metadataPath);
      // New metadata that was to take the place stands there in full.
      const { swap } = ledger.health;
      if (swap !== undefined) await eraseMetadataHead(kernel, swap.sparePath);
    } else {
      const files = [record.dataPath, record.metadataPath];
      for (const path of files) await removeFile(path);
      await removeBeside(record.metadataPath);
      // Of an adopted pool they are not in the ledger's folder.
      await syncFoldersOf(files);
    }
    await removeBeside(paths.ledger);
    await removeBackups(join(paths.folder, "backups"));
    await removeSpools(paths.folder);
    await removeDaemonFiles(paths.folder);
    // Last: until here the ledger says what the rest is.
    pool.closeLedger();
    await removeLedger(paths.ledger);
    await removeFile(paths.lock);
    await syncFolder(paths.folder);
    return paths.folder;
  });
  await removeIfEmpty(folder);
  return { outcome: "destroyed" };
}

async function takeDown({ kernel, record }: ClosedPool): Promise<void> {
  const devices = await dmDevicesOf(kernel, record.uuid);
  const poolUuid = poolDmUuid(record.uuid);
  const thins = devices.filter(({ uuid }) => uuid !== poolUuid);
  const used = thins.find(({ openCount }) => openCount > 0);
  if (used !== undefined) {
    throw new PoolError({
      code: "DEVICE_BUSY",
      operation: "destruction",
      object: used.name,
      reason: `it is open or mounted (${used.openCount} times)`,
      hint: `Unmount it first; findmnt and fuser -vm ${dmNodePath(used.name)} show who has it.`,
    });
  }
  const pools = devices.filter(({ uuid }) => uuid === poolUuid);
  for (const { dev } of [...thins, ...pools]) {
    await removeDeviceRetrying(kernel.dm, { dev }, REMOVE_RETRY);
  }
  for (const { path } of await loopsOf(kernel, record)) await kernel.loops.detach(path);
}

/** What repair and restore keep or leave: `metadata.damaged-…`, `metadata.spare`, and the like. */
async function removeBeside(path: string): Promise<void> {
  const ours = /^\.(?:(?:damaged|replaced)-\d{8}T\d{6}Z(?:-\d+)?|spare|restore(?:-wal|-journal)?)$/;
  for (const name of await namesIn(dirname(path))) {
    if (!name.startsWith(basename(path))) continue;
    if (ours.test(name.slice(basename(path).length))) await removeFile(join(dirname(path), name));
  }
}

/** None where the folder is gone, as that of an adopted pool's files may be. */
async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

async function removeBackups(folder: string): Promise<void> {
  try {
    for (const name of await readdir(folder)) await removeFile(join(folder, name));
    await rmdir(folder);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** A folder with files of others in it stays. */
async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY") && !isErrno(error, "EBUSY")) throw error;
  }
}
