/**
 * One ledger per pool. It names the pool's files and devices by their paths, so that a copy of it in another
 * folder, which has a lock of its own, would drive the same pool a second time, or destroy it (INV-9).
 */
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PoolError } from "./errors.ts";
import { isErrno } from "./errors-from-native.ts";
import { type FolderPaths, folderPaths } from "./folder.ts";
import type { PoolRecord } from "./store/ledger.ts";

type Owned = Pick<PoolRecord, "backing" | "dataPath" | "folder">;

/**
 * POOL_MISMATCH where another ledger lies in the folder in which this one was last opened: this one is a copy,
 * or was moved away from there before a pool was made in its place. One that was moved is the pool's own; but with
 * the files beside it, it names them where they were, and destroying the pool would leave them.
 */
export async function checkOwnFolder(
  record: Owned,
  paths: FolderPaths,
  operation: string,
): Promise<void> {
  const home = homeOf(record);
  if (home === undefined || home === paths.folder) return;
  const mismatch = (reason: string, hint: string): PoolError =>
    new PoolError({ code: "POOL_MISMATCH", operation, object: paths.folder, reason, hint });
  if ((await identityOf(folderPaths(home).ledger)) === undefined) {
    const hadFiles = record.backing === "files" && dirname(record.dataPath) === home;
    if (!hadFiles || (await identityOf(paths.data)) === undefined) return;
    const reason = `it was moved from ${home}, where its files are looked for`;
    throw mismatch(reason, `Move the folder back to ${home}.`);
  }
  // One folder of two names (a bind mount).
  if ((await identityOf(home)) === (await identityOf(paths.folder))) return;
  throw mismatch(
    `its pool.sqlite was copied or moved from ${home}, where another lies now`,
    `Open the pool in ${home}. A copy is no pool of its own: remove its files by hand.`,
  );
}

/** A ledger of an earlier version does not say it; files were mostly made beside it. */
function homeOf({ backing, dataPath, folder }: Owned): string | undefined {
  return folder ?? (backing === "files" ? dirname(dataPath) : undefined);
}

/** Files that are to be adopted and lie beside a ledger are of its pool. */
export async function checkNobodysFiles(dataPath: string, paths: FolderPaths): Promise<void> {
  const ledger = join(dirname(dataPath), "pool.sqlite");
  if ((await identityOf(ledger)) === undefined) return;
  throw new PoolError({
    code: "POOL_MISMATCH",
    operation: "adoption",
    object: paths.folder,
    reason: `${dataPath} belongs to the pool of ${ledger}`,
    hint: "Open that pool; where its ledger is damaged, restore a backup, or move the ledger away first.",
  });
}

async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
    throw error;
  }
}
