/** Opening a pool: either it is open at the end, or nothing is there that was not before (INV-5). */
import { realpath } from "node:fs/promises";
import { attachBacking } from "./backing.ts";
import { DeviceStates } from "./device-state.ts";
import { PoolError } from "./errors.ts";
import { poolErrorFrom } from "./errors-from-native.ts";
import { checkFolderName, exists, folderPaths } from "./folder.ts";
import { checkBeforeActivation } from "./health/before-activation.ts";
import { lookAtMetadata, releaseLeftSnapshot } from "./health/metadata-snapshot.ts";
import { removeSpools } from "./health/range-spool.ts";
import { isSick, statusForOpening } from "./health/sick-pool.ts";
import { finishSwap } from "./health/swap.ts";
import { lockPool } from "./lock.ts";
import { checkOwnFolder } from "./own-folder.ts";
import type { OpenPoolOptions, ThinPool } from "./pool.ts";
import { PoolDevice } from "./pool-device.ts";
import { probeKernel } from "./probe.ts";
import { recover } from "./recover.ts";
import { endGrowth, looksOf, refreshLoops, settleSizes, tablesOf } from "./space/settle.ts";
import { Ledger } from "./store/ledger.ts";
import { poolStateOf } from "./tables.ts";
import { ThinDevices } from "./thin-devices.ts";
import { Pool } from "./thin-pool.ts";
import { degradedError, isUndoError, UndoError, withUndo } from "./undo.ts";

/**
 * Opens the pool of a folder. What a killed process left live is adopted after it was checked to be
 * ours; what it left half done is settled. POOL_NOT_FOUND, POOL_LOCKED, POOL_MISMATCH,
 * POOL_NEEDS_REPAIR, POOL_NEEDS_CHECK, POOL_READ_ONLY, POOL_FAILED, POOL_TOOL_MISSING,
 * POOL_PERMISSION, POOL_UNSUPPORTED.
 */
export async function openPool(options: OpenPoolOptions): Promise<ThinPool> {
  const { kernel, folder } = options;
  try {
    checkFolderName(folder);
    await probeKernel(kernel);
    if (!(await exists(folderPaths(folder).ledger))) throw notFound(folder, "it holds no pool");
    const paths = folderPaths(await realpath(folder));
    return await withUndo(async (undo) => {
      const lock = lockPool(paths, "opening");
      undo.pushAlways("releasing the lock", () => lock.release());
      const ledger = Ledger.open(paths.ledger, options.onCommit);
      undo.pushAlways("closing the ledger", () => ledger.close());
      const found = ledger.pool();
      if (found?.state !== "created") throw notFound(folder, "creating its pool never ended");
      await checkOwnFolder(found, paths, "opening");
      await removeSpools(paths.folder);
      const recorded = await finishSwap(ledger);
      const policy = ledger.space.policy();
      if (policy === undefined) throw notFound(folder, "its ledger has no policy");
      const { record, grows } = await settleSizes(kernel, ledger, recorded);
      const backing = await attachBacking(kernel, record, undo);
      if (grows) await refreshLoops(kernel, backing);
      if (
        !(await PoolDevice.removeUnlessLive(
          kernel,
          record.uuid,
          looksOf(record, recorded, backing),
        ))
      ) {
        const allowMissingTool = options.allowMissingTool ?? false;
        await checkBeforeActivation({ kernel, ledger, record, backing, allowMissingTool });
      }
      const tables = tablesOf(record, recorded, backing, policy);
      const pool = await PoolDevice.open(kernel, record, tables, undo, { reload: grows });
      const { adopted } = pool;
      const status = statusForOpening(await pool.status(), { adopted, folder });
      const thins = new ThinDevices(kernel, record.uuid, pool.dev);
      const states = new DeviceStates();
      // One that needs a check takes a longer table and does not grow (dm-thin.c, maybe_resize).
      if (grows && poolStateOf(status) !== "needs-check") endGrowth(ledger, record);
      // A pool that takes no message is taken over to be read, and grown: what can wait is for a later opening.
      const takesChanges = !isSick(poolStateOf(status));
      // First, since recovery may need one of its own.
      if (takesChanges) await releaseLeftSnapshot(ledger, pool, status);
      const { path } = backing.metadata;
      const recovered = await recover({
        ledger,
        record,
        pool,
        thins,
        states,
        current: status.transactionId,
        takesChanges,
        look: () => lookAtMetadata({ kernel, ledger, pool, path }),
      });
      if (found.folder !== paths.folder) ledger.setFolder(paths.folder);
      ledger.events.note({ body: { type: "pool-opened" } }, Date.now());
      // It has its number before a reader asks for the last one: who began after it is not told of it.
      ledger.events.flush();
      return new Pool({
        kernel,
        folder: paths.folder,
        record: ledger.pool() ?? record,
        lock,
        ledger,
        backing,
        pool,
        thins,
        states,
        transactionId: recovered.transactionId,
        policy,
        monitor: options.monitor ?? {},
      });
    }, isUndoError);
  } catch (error) {
    if (error instanceof UndoError) throw degradedError("opening", folder, error);
    throw poolErrorFrom(error, { operation: "opening", object: folder });
  }
}

function notFound(folder: string, reason: string): PoolError {
  return new PoolError({
    code: "POOL_NOT_FOUND",
    operation: "opening",
    object: folder,
    reason,
    hint: "Create a pool there first, or name the right folder.",
  });
}
