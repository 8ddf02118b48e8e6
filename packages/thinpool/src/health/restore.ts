/** A backup put back: metadata and ledger of one moment, what was there before kept. */
import { constants } from "node:fs";
import { copyFile, link, readdir, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PoolError } from "../errors.ts";
import { exists, removeFile, removeLedger, syncFile, syncFolder } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { settleSizes } from "../space/settle.ts";
import { Ledger, type PoolRecord } from "../store/ledger.ts";
import { backupPaths, listBackupFiles } from "./backup-files.ts";
import { assertNotLive, type ClosedPool, withClosedPool } from "./closed-pool.ts";
import { buildOnSpare, orGiveUp, prepareSpare } from "./spare.ts";
import { finishSwap, keptName } from "./swap.ts";
import { toolCall } from "./tool-calls.ts";

export interface RestorePoolOptions {
  readonly folder: string;
  readonly kernel: Kernel;
  /** The backup's name; the newest by default. */
  readonly backup?: string;
  /** For a pool on block devices: the device that takes the metadata's place. */
  readonly spareDevice?: string;
  readonly signal?: AbortSignal;
}

export interface RestoreResult {
  readonly outcome: "restored";
  readonly backup: string;
  /** The pool's transaction from now on. */
  readonly transactionId: bigint;
  /** The metadata and the ledger as they were. */
  readonly keptMetadataPath: string;
  readonly keptLedgerPath: string;
}

/**
 * Puts a backup of the metadata and its ledger back. What was made since is gone from the lists, and
 * blocks that were freed since and used for something else hold that: restore soon, check filesystems.
 *
 * All is built and checked beside the pool first; one rename of the ledger, which names the swap, is
 * the point from which the backup counts, and a crash after it is finished by opening (INV-21).
 * POOL_LOCKED, DEVICE_BUSY while it is live, POOL_NOT_FOUND, POOL_MISMATCH, POOL_TOOL_MISSING.
 */
export function restorePool(options: RestorePoolOptions): Promise<RestoreResult> {
  const { kernel, signal } = options;
  return withClosedPool({ ...options, operation: "restore" }, async (pool) => {
    await assertNotLive(pool, "restore");
    const recorded = await finishSwap(pool.ledger);
    const { record } = await settleSizes(kernel, pool.ledger, recorded);
    const name = await chooseBackup(pool, options.backup);
    const backup = backupPaths(pool.paths, name);
    const atMs = Date.now();
    const staged = `${pool.paths.ledger}.restore`;
    await removeLedger(staged);
    await copyFile(backup.ledger, staged, constants.COPYFILE_EXCL);
    const lastTransactionId = checkSamePool(staged, record);
    const spare = await prepareSpare(kernel, record, options.spareDevice);
    const aborting = signal === undefined ? {} : { signal };
    const listing = await buildOnSpare(kernel, spare, async (path) => {
      const { metadataTools } = kernel;
      await toolCall(() => metadataTools.restore({ file: backup.dump, path, ...aborting }));
      const built = await toolCall(() => metadataTools.read({ path, ...aborting }));
      checkSameMoment(backup.dump, built.superblock.transactionId, lastTransactionId);
      return built;
    });
    const keptMetadataPath =
      record.backing === "files"
        ? await keptName(record.metadataPath, "replaced", atMs)
        : record.metadataPath;
    const keptLedgerPath = await orGiveUp(kernel, spare, async () => {
      stageLedger(staged, record, (ledger) => {
        ledger.setFolder(pool.paths.folder);
        ledger.events.goOnAfter(pool.ledger.events.highest());
        ledger.health.beginSwap({
          kind: "restore",
          sparePath: spare.path,
          keptPath: keptMetadataPath,
          atMs,
        });
      });
      await assertNoJournal(staged);
      await syncFile(staged);
      await removeOtherNames(pool.paths.ledger);
      return keptName(pool.paths.ledger, "replaced", atMs);
    });
    await pool.replaceLedger(async () => {
      await assertNoJournal(pool.paths.ledger);
      // Of an adopted pool it is not the ledger's.
      if (spare.isFile) await syncFolder(dirname(spare.path));
      await link(pool.paths.ledger, keptLedgerPath);
      // That name, and those of all that the new ledger speaks of.
      await syncFolder(pool.paths.folder);
      await rename(staged, pool.paths.ledger);
      await syncFolder(pool.paths.folder);
    });
    await finishSwap(pool.ledger);
    const { transactionId } = listing.superblock;
    return { outcome: "restored", backup: name, transactionId, keptMetadataPath, keptLedgerPath };
  });
}

/** A restore that was cut short may have given the present ledger the name that it was to be kept under. */
async function removeOtherNames(ledger: string): Promise<void> {
  const { ino, nlink } = await stat(ledger);
  if (nlink === 1) return;
  for (const name of await readdir(dirname(ledger))) {
    const path = join(dirname(ledger), name);
    if (path === ledger || !path.startsWith(ledger)) continue;
    if ((await stat(path)).ino === ino) await removeFile(path);
  }
}

async function chooseBackup(pool: ClosedPool, wanted: string | undefined): Promise<string> {
  const backups = await listBackupFiles(pool.paths);
  const found = wanted === undefined ? backups[0] : backups.find(({ name }) => name === wanted);
  if (found !== undefined) return found.name;
  throw new PoolError({
    code: "POOL_NOT_FOUND",
    operation: "restore",
    object: wanted === undefined ? pool.paths.folder : JSON.stringify(wanted),
    reason: wanted === undefined ? "the pool has no backup" : "the pool has no such backup",
    hint: "List the backups to see which there are.",
  });
}

/** The last transaction of the backup's ledger. */
function checkSamePool(staged: string, record: PoolRecord): bigint {
  const ledger = Ledger.open(staged);
  try {
    const found = ledger.pool();
    if (found?.uuid === record.uuid && found.blockSectors === record.blockSectors) {
      return found.lastTransactionId;
    }
    throw new PoolError({
      code: "POOL_MISMATCH",
      operation: "restore",
      object: staged,
      reason: `the backup is of pool ${found?.uuid}, this is ${record.uuid}`,
      hint: "Choose a backup of this pool.",
    });
  } finally {
    ledger.close();
  }
}

/** Else opening would refuse the two, when the present ones have been replaced already (INV-2). */
function checkSameMoment(dump: string, current: bigint, last: bigint): void {
  if (current === last || current === last - 1n) return;
  throw new PoolError({
    code: "POOL_MISMATCH",
    operation: "restore",
    object: dump,
    reason: `the dump is of transaction ${current}, the ledger beside it of ${last}`,
    hint: "Put the two files back that were made together, or choose another backup.",
  });
}

/** The pool may have grown since the backup: what it stands on is as it is now. */
function stageLedger(staged: string, record: PoolRecord, body: (ledger: Ledger) => void): void {
  const ledger = Ledger.open(staged);
  try {
    ledger.setSizes(record.dataBytes, record.metadataBytes);
    body(ledger);
  } finally {
    ledger.close();
  }
}

/**
 * A journal that stayed beside the present ledger would be taken for the new one's; one that stayed
 * beside the new one would not come along.
 */
async function assertNoJournal(ledger: string): Promise<void> {
  for (const suffix of ["-wal", "-journal"]) {
    const path = ledger + suffix;
    if (!(await exists(path))) continue;
    throw new PoolError({
      code: "POOL_MISMATCH",
      operation: "restore",
      object: path,
      reason: "its ledger could not be closed in full",
      hint: "Open the pool and close it, then restore again.",
    });
  }
}
