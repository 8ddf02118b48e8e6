/** A pool that is closed, held by its lock: what check, repair, restore and destroy begin with. */
import { realpath } from "node:fs/promises";
import { PoolError } from "../errors.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { checkFolderName, exists, type FolderPaths, folderPaths } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { leftoversOfClosed } from "./leftovers.ts";
import { lockPool } from "../lock.ts";
import { checkOwnFolder } from "../own-folder.ts";
import { Ledger, type PoolRecord } from "../store/ledger.ts";
import { degradedError, type Undo, UndoError, withUndo } from "../undo.ts";

export class ClosedPool {
  readonly kernel: Kernel;
  readonly paths: FolderPaths;
  readonly record: PoolRecord;
  #ledger: Ledger;
  #closed = false;

  constructor(kernel: Kernel, paths: FolderPaths, record: PoolRecord, ledger: Ledger) {
    this.kernel = kernel;
    this.paths = paths;
    this.record = record;
    this.#ledger = ledger;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  closeLedger(): void {
    if (!this.#closed) this.#ledger.close();
    this.#closed = true;
  }

  /** Closes the ledger, lets `replace` put another file in its place, and opens that. */
  async replaceLedger(replace: () => Promise<void>): Promise<void> {
    this.closeLedger();
    try {
      await replace();
    } finally {
      this.#ledger = Ledger.open(this.paths.ledger);
      this.#closed = false;
    }
  }
}

/** POOL_NOT_FOUND, POOL_LOCKED. The lock and the ledger are given back when `body` has ended. */
export async function withClosedPool<T>(
  options: {
    readonly folder: string;
    readonly kernel: Kernel;
    readonly operation: string;
    /** Also one whose creation or destruction never ended. */
    readonly unfinished?: boolean;
    /** Also a copy of another folder's: nothing but its ledger is looked at. */
    readonly copied?: boolean;
  },
  body: (pool: ClosedPool, undo: Undo) => Promise<T>,
): Promise<T> {
  const { folder, kernel, operation } = options;
  try {
    checkFolderName(folder);
    if (!(await exists(folderPaths(folder).ledger))) throw noPoolIn(folder, operation);
    const paths = folderPaths(await realpath(folder));
    using lock = lockPool(paths, operation);
    void lock;
    return await withUndo(async (undo) => {
      const ledger = Ledger.open(paths.ledger);
      let pool: ClosedPool | undefined;
      try {
        const record = ledger.pool();
        if (record === undefined || (record.state !== "created" && options.unfinished !== true)) {
          throw noPoolIn(folder, operation);
        }
        if (options.copied !== true) await checkOwnFolder(record, paths, operation);
        pool = new ClosedPool(kernel, paths, record, ledger);
        return await body(pool, undo);
      } finally {
        if (pool === undefined) ledger.close();
        else pool.closeLedger();
      }
    });
  } catch (error) {
    if (error instanceof UndoError) throw degradedError(operation, folder, error);
    throw poolErrorFrom(error, { operation, object: folder });
  }
}

export function noPoolIn(folder: string, operation: string): PoolError {
  return new PoolError({
    code: "POOL_NOT_FOUND",
    operation,
    object: folder,
    reason: "it holds no pool",
    hint: "Name the pool's folder.",
  });
}

/** DEVICE_BUSY where the kernel still has anything of the pool: its metadata is in use. */
export async function assertNotLive(pool: ClosedPool, operation: string): Promise<void> {
  const [left] = await leftoversOfClosed(pool.kernel, pool.record);
  if (left === undefined) return;
  throw new PoolError({
    code: "DEVICE_BUSY",
    operation,
    object: left.object,
    reason: left.reason,
    hint: "Open the pool and close it, which takes all of it down.",
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
  // Autoclear: should we be killed, it goes with us.
  const loop = await kernel.loops.attach({
    backingFile: path,
    readOnly,
    directIo: true,
    autoclear: true,
  });
  try {
    return await body(loop.path);
  } finally {
    await kernel.loops.detach(loop.path);
  }
}
