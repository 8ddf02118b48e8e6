/** Backups of an open pool's metadata. */
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { checkFolderName, checkRoom, exists, folderPaths } from "../folder.ts";
import {
  type Backup,
  DEFAULT_BACKUPS_KEPT,
  listBackupFiles,
  MAX_BACKUPS_KEPT,
  nameBackup,
  pruneBackups,
  stageBackup,
} from "./backup-files.ts";
import { noPoolIn } from "./closed-pool.ts";
import { LONG_SNAPSHOT_HOLD_MS } from "./metadata-snapshot.ts";
import { toolCall } from "./tool-calls.ts";

export interface BackupOptions {
  /** How many are kept, this one included (default 8). */
  readonly keep?: number;
  readonly signal?: AbortSignal;
}

/**
 * Dumps the metadata and copies the ledger, both of one moment between two changes, into the folder
 * `backups`; durable when it returns. Data is not copied: a backup saves the maps, not the blocks.
 * POOL_SNAPSHOT_BUSY, POOL_TOOL_MISSING, POOL_NO_SPACE.
 */
export async function backup(engine: Engine, options: BackupOptions = {}): Promise<Backup> {
  const keep = options.keep ?? DEFAULT_BACKUPS_KEPT;
  const { signal } = options;
  const paths = folderPaths(engine.folder);
  try {
    engine.assertNotClosed("backup", engine.folder);
    checkKeep(keep);
    await checkRoom(engine.folder, "backup");
    return await engine.metadataSnapshot.use(
      { owner: "backup", signal, maxHoldMs: LONG_SNAPSHOT_HOLD_MS },
      async () => {
        const staged = await stageBackup(paths);
        engine.ledger.copyInto(staged.ledger);
        return { staged, atMs: Date.now(), transactionId: engine.transactionId };
      },
      async ({ staged, ...moment }, held) => {
        const { path } = engine.backing.metadata;
        const { dataBytes, blockSectors } = engine.poolRecord;
        const dataBlocks = dataBytes / (blockSectors * SECTOR_SIZE_BYTES);
        const dump = { path, snapshot: true, signal: held, file: staged.dump, dataBlocks };
        await toolCall(() => engine.kernel.metadataTools.dump(dump));
        const made = await nameBackup(paths, staged, moment);
        // Here, where backups are one after another: none lists what another one removes.
        await pruneBackups(paths, keep);
        return made;
      },
    );
  } catch (error) {
    if (signal?.aborted === true && error === signal.reason) throw error;
    throw poolErrorFrom(error, { operation: "backup", object: engine.folder });
  }
}

/**
 * The backups of a pool, open or closed, the newest first. POOL_NOT_FOUND where there is neither one nor a
 * pool: a folder whose name was mistyped would else look like a pool that nobody ever backed up.
 */
export async function listBackups(options: {
  readonly folder: string;
}): Promise<readonly Backup[]> {
  try {
    checkFolderName(options.folder);
    const paths = folderPaths(options.folder);
    const backups = await listBackupFiles(paths);
    if (backups.length === 0 && !(await exists(paths.ledger))) {
      throw noPoolIn(options.folder, "list of backups");
    }
    return backups;
  } catch (error) {
    throw poolErrorFrom(error, { operation: "list of backups", object: options.folder });
  }
}

function checkKeep(keep: number): void {
  if (Number.isInteger(keep) && keep >= 1 && keep <= MAX_BACKUPS_KEPT) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "backup",
    object: `keep ${keep}`,
    reason: "it is no number of backups",
    hint: `Use 1 to ${MAX_BACKUPS_KEPT}.`,
  });
}
