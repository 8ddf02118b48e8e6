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
import { METADATA_SIGNATURE } from "./before-activation.ts";
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
    const erased = await metadataOf(pool);
    await takeDown(pool);
    for (const path of erased) await refuseInUse(kernel, path);
    ledger.markPoolUncreated();
    for (const path of erased) await eraseMetadataHead(kernel, path);
    if (record.backing === "files") {
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

/**
 * The block devices whose metadata is to be erased: the pool's own, and one on which new metadata that was to take
 * the place stands in full. POOL_MISMATCH where a device of that name carries something else: after a boot it may be
 * another disk, and one that was to be a pool's may have been put to another use since.
 */
async function metadataOf({ kernel, record, ledger }: ClosedPool): Promise<readonly string[]> {
  if (record.backing !== "block") return [];
  const { swap } = ledger.health;
  const paths = [record.metadataPath, ...(swap === undefined ? [] : [swap.sparePath])];
  const found: string[] = [];
  for (const path of paths) if (await carriesMetadata(kernel, path)) found.push(path);
  return found;
}

async function carriesMetadata(kernel: Kernel, path: string): Promise<boolean> {
  const signature = await kernel.blocks.signature(path);
  if (signature === undefined || signature.type === METADATA_SIGNATURE) {
    return signature !== undefined;
  }
  throw new PoolError({
    code: "POOL_MISMATCH",
    operation: "destruction",
    object: path,
    reason: `it carries ${signature.type}, no pool's metadata: it may be another disk`,
    hint: "Attach the pool's own device at this path again; or, where that is gone, remove the pool's folder by hand.",
  });
}

/** By whom else, now that the pool is down: another pool's metadata has the same signature. */
async function refuseInUse(kernel: Kernel, path: string): Promise<void> {
  if (!(await kernel.blocks.inUse(path))) return;
  throw new PoolError({
    code: "DEVICE_BUSY",
    operation: "destruction",
    object: path,
    reason: "it is in use, and not by this pool",
    hint: "See lsblk for what uses it: it may be another disk than it was.",
  });
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
