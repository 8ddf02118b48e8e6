/** The end of a pool: its devices, loops, files and records. */
import { readdir, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { dmNodePath, removeDeviceRetrying } from "@thinpool/dm-native";
import { METADATA_HEAD_BYTES } from "../create-pool.ts";
import { dmDevicesOf } from "../dm-devices.ts";
import { poolDmUuid } from "../dm-names.ts";
import { PoolError } from "../errors.ts";
import { isErrno } from "../errors-from-native.ts";
import { DAEMON_FILES, removeDatabase, removeFile, removeLedger, syncFolder } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { REMOVE_RETRY } from "../remove-retry.ts";
import { type ClosedPool, withClosedPool } from "./closed-pool.ts";
import { loopsOf } from "./leftovers.ts";

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
      const head = { offsetBytes: 0n, lengthBytes: METADATA_HEAD_BYTES };
      await kernel.blocks.zeroOut(record.metadataPath, head);
      await kernel.blocks.flush(record.metadataPath);
    } else {
      for (const path of [record.dataPath, record.metadataPath]) await removeFile(path);
      await removeBeside(record.metadataPath);
    }
    await removeBeside(paths.ledger);
    await removeBackups(join(paths.folder, "backups"));
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
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(basename(path))) continue;
    if (ours.test(name.slice(basename(path).length))) await removeFile(join(dirname(path), name));
  }
}

/** In the next pool of this folder their tokens would still let people in, and their keys answer for devices that are gone. */
async function removeDaemonFiles(folder: string): Promise<void> {
  for (const file of Object.values(DAEMON_FILES)) await removeDatabase(join(folder, file));
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
