/** A pool that is closed, held by its lock: what check, repair, restore and destroy begin with. */
import { realpath } from "node:fs/promises";
import { PoolError } from "../errors.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { checkFolderName, exists, type FolderPaths, folderPaths } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { lockPool } from "../lock.ts";
import { Ledger, type PoolRecord } from "../store/ledger.ts";
import { degradedError, type Undo, UndoError, withUndo } from "../undo.ts";

export interface ClosedPool {
  readonly kernel: Kernel;
  readonly paths: FolderPaths;
  readonly record: PoolRecord;
  readonly ledger: Ledger;
}

/** POOL_NOT_FOUND, POOL_LOCKED. The lock and the ledger are given back when `body` has ended. */
export async function withClosedPool<T>(
  options: { readonly folder: string; readonly kernel: Kernel; readonly operation: string },
  body: (pool: ClosedPool, undo: Undo) => Promise<T>,
): Promise<T> {
  const { folder, kernel, operation } = options;
  try {
    checkFolderName(folder);
    if (!(await exists(folderPaths(folder).ledger))) throw notFound(operation, folder);
    const paths = folderPaths(await realpath(folder));
    using lock = lockPool(paths, operation);
    void lock;
    return await withUndo(async (undo) => {
      const ledger = Ledger.open(paths.ledger);
      try {
        const record = ledger.pool();
        if (record?.state !== "created") throw notFound(operation, folder);
        return await body({ kernel, paths, record, ledger }, undo);
      } finally {
        ledger.close();
      }
    });
  } catch (error) {
    if (error instanceof UndoError) throw degradedError(operation, folder, error);
    throw poolErrorFrom(error, { operation, object: folder });
  }
}

function notFound(operation: string, folder: string): PoolError {
  return new PoolError({
    code: "POOL_NOT_FOUND",
    operation,
    object: folder,
    reason: "it holds no pool",
    hint: "Name the pool's folder.",
  });
}

/** A block device for the tools: a file gets a loop for as long as `body` runs. */
export async function withDevice<T>(
  kernel: Kernel,
  path: string,
  options: { readonly isFile: boolean; readonly readOnly: boolean },
  body: (devicePath: string) => Promise<T>,
): Promise<T> {
  if (!options.isFile) return body(path);
  const { readOnly } = options;
  const loop = await kernel.loops.attach({ backingFile: path, readOnly, directIo: true });
  try {
    return await body(loop.path);
  } finally {
    await kernel.loops.detach(loop.path);
  }
}
