/** Making a new pool: either it is there and open at the end, or nothing is left (INV-5). */
import { randomUUID } from "node:crypto";
import { attachBacking, checkEmptyBlockDevices } from "./backing.ts";
import {
  DEFAULT_BLOCK_SECTORS,
  DEFAULT_DATA_BYTES,
  DEFAULT_METADATA_BYTES,
  defaultLowWaterBlocks,
} from "./defaults.ts";
import { DeviceStates } from "./device-state.ts";
import { poolDmUuid } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { isNative, poolErrorFrom } from "./errors-from-native.ts";
import {
  checkFolderName,
  checkRoom,
  createFile,
  exists,
  type FolderPaths,
  folderPaths,
  prepareFolder,
  removeDaemonFiles,
  removeFile,
  removeLedger,
  syncFolder,
  syncFoldersOf,
} from "./folder.ts";
import { eraseMetadataHead, METADATA_HEAD } from "./health/metadata-head.ts";
import type { Kernel } from "./kernel.ts";
import { lockPool } from "./lock.ts";
import { checkOwnFolder } from "./own-folder.ts";
import {
  checkDiscard,
  checkFileSizes,
  checkPoolNumbers,
  checkPoolSizes,
  checkStoragePath,
} from "./options.ts";
import type { CreatePoolOptions, PoolBacking, ThinPool } from "./pool.ts";
import { PoolDevice } from "./pool-device.ts";
import { probeKernel } from "./probe.ts";
import { changedPolicy, defaultPolicy, type SpacePolicy } from "./space/policy.ts";
import { Ledger, type NewPool, type PoolRecord } from "./store/ledger.ts";
import { poolTable } from "./tables.ts";
import { ThinDevices } from "./thin-devices.ts";
import { Pool } from "./thin-pool.ts";
import { degradedError, isDoubt, type Undo, withUndo } from "./undo.ts";

/**
 * Makes a pool and opens it. POOL_EXISTS, POOL_LOCKED, POOL_TOO_SMALL, POOL_DEVICE_NOT_EMPTY,
 * POOL_PERMISSION, POOL_UNSUPPORTED: nothing has changed. What a crash in here leaves is found and
 * cleared by the next call.
 */
export async function createPool(options: CreatePoolOptions): Promise<ThinPool> {
  const { kernel, folder } = options;
  const backing = options.backing ?? { type: "files" };
  const blockSectors = options.blockSectors ?? DEFAULT_BLOCK_SECTORS;
  const { lowWaterBlocks } = options;
  const discard = options.discard ?? "passdown";
  try {
    checkFolderName(folder);
    checkPoolNumbers(blockSectors, lowWaterBlocks ?? 0n);
    checkDiscard(discard);
    if (backing.type === "files") {
      const { dataBytes, metadataBytes } = fileSizes(backing);
      checkPoolSizes(dataBytes, metadataBytes, blockSectors);
      checkFileSizes(dataBytes, metadataBytes);
    } else {
      checkStoragePath(backing.dataPath);
      checkStoragePath(backing.metadataPath);
    }
    await probeKernel(kernel);
    return await withUndo(async (undo) => {
      const paths = folderPaths(await prepareFolder(folder, undo));
      await checkRoom(paths.folder, "creation");
      const lockExisted = await exists(paths.lock);
      const lock = lockPool(paths, "creation");
      undo.pushAlways("releasing the lock", () => lock.release());
      // Removed while we hold it; who opened it before is stopped by the ledger's own lock (INV-9).
      if (!lockExisted) undo.push("removing the lock file", () => removeFile(paths.lock));
      await clearUnfinished(kernel, paths);
      const sizes =
        backing.type === "files"
          ? fileSizes(backing)
          : await checkEmptyBlockDevices(kernel, backing.dataPath, backing.metadataPath);
      checkPoolSizes(sizes.dataBytes, sizes.metadataBytes, blockSectors);
      const record: NewPool = {
        uuid: randomUUID(),
        backing: backing.type,
        folder: paths.folder,
        dataPath: backing.type === "files" ? paths.data : backing.dataPath,
        metadataPath: backing.type === "files" ? paths.metadata : backing.metadataPath,
        ...sizes,
        blockSectors,
        lowWaterBlocks: lowWaterBlocks ?? defaultLowWaterBlocks(sizes.dataBytes, blockSectors),
        discard,
        createdAtMs: Date.now(),
      };
      const policy = changedPolicy(
        defaultPolicy({ backing: backing.type, ...sizes }),
        options.policy ?? {},
      );
      return await build(options, paths, { record, policy }, undo, lock);
    });
  } catch (error) {
    if (isDoubt(error)) throw degradedError("creation", folder, error);
    throw poolErrorFrom(error, { operation: "creation", object: folder });
  }
}

async function build(
  options: Pick<CreatePoolOptions, "kernel" | "monitor" | "onCommit">,
  paths: FolderPaths,
  { record: fresh, policy }: { readonly record: NewPool; readonly policy: SpacePolicy },
  undo: Undo,
  lock: Disposable,
): Promise<ThinPool> {
  const { kernel } = options;
  // The ledger comes first, so that what a crash leaves after it is known to be an unfinished pool.
  undo.push("removing the ledger", () => removeLedger(paths.ledger));
  await createFile(paths.ledger, 0n, undo);
  const ledger = Ledger.open(paths.ledger, options.onCommit);
  undo.pushAlways("closing the ledger", () => ledger.close());
  ledger.createPool(fresh, policy);
  if (fresh.backing === "files") {
    await createFile(paths.metadata, fresh.metadataBytes, undo);
    await createFile(paths.data, fresh.dataBytes, undo);
  }
  await syncFolder(paths.folder);
  const record = recorded(ledger, paths);
  const backing = await attachBacking(kernel, record, undo);
  if (fresh.backing === "block") {
    await kernel.blocks.zeroOut(backing.metadata.path, METADATA_HEAD);
    // Else the device would carry the signature of a pool that never was.
    undo.push("erasing the metadata's start", () =>
      eraseMetadataHead(kernel, backing.metadata.path),
    );
  }
  const failsWhenFull = policy.onNoSpace === "error_if_no_space";
  const table = poolTable(record, backing, { errorIfNoSpace: failsWhenFull });
  const pool = await PoolDevice.open(kernel, record, [table], undo);
  const status = await pool.status();
  if (status.state !== "working" || status.transactionId !== 0n) {
    throw new PoolError({
      code: "POOL_KERNEL",
      operation: "creation",
      object: paths.folder,
      reason: "the kernel's new pool is not empty or does not work",
      hint: "Look at the kernel's log (dmesg).",
    });
  }
  await removeDaemonFiles(paths.folder);
  ledger.events.note({ body: { type: "pool-created" } }, Date.now());
  ledger.markPoolCreated();
  return new Pool({
    kernel,
    folder: paths.folder,
    record: recorded(ledger, paths),
    lock,
    ledger,
    backing,
    pool,
    thins: new ThinDevices(kernel, record.uuid, pool.dev),
    states: new DeviceStates(),
    transactionId: status.transactionId,
    policy,
    monitor: options.monitor ?? {},
  });
}

function recorded(ledger: Ledger, paths: FolderPaths): PoolRecord {
  const record = ledger.pool();
  if (record !== undefined) return record;
  throw new PoolError({
    code: "POOL_MISMATCH",
    operation: "creation",
    object: paths.ledger,
    reason: "the record just written is not there",
    hint: "Check the disk that holds the pool's folder.",
  });
}

function fileSizes(backing: Extract<PoolBacking, { type: "files" }>): {
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
} {
  return {
    dataBytes: backing.dataBytes ?? DEFAULT_DATA_BYTES,
    metadataBytes: backing.metadataBytes ?? DEFAULT_METADATA_BYTES,
  };
}

/**
 * POOL_EXISTS where the folder holds a pool, or files that we would overwrite. What a createPool that
 * never ended left behind is removed: its dm device, loops and files, all named by its ledger.
 */
async function clearUnfinished(kernel: Kernel, paths: FolderPaths): Promise<void> {
  if (!(await exists(paths.ledger))) {
    for (const path of [paths.data, paths.metadata]) {
      if (await exists(path))
        throw poolExists(path, "it is there already, and no pool.sqlite with it");
    }
    return;
  }
  const ledger = Ledger.open(paths.ledger);
  let record: PoolRecord | undefined;
  try {
    record = ledger.pool();
  } finally {
    ledger.close();
  }
  if (record?.state === "created") throw poolExists(paths.folder, `it holds pool ${record.uuid}`);
  if (record !== undefined) {
    await checkOwnFolder(record, paths, "creation");
    await clearKernel(kernel, record);
  }
  if (record?.backing === "files") {
    // Of an adopted pool, whose destruction never ended, they are elsewhere.
    await removeFile(record.dataPath);
    await removeFile(record.metadataPath);
    await syncFoldersOf([record.dataPath, record.metadataPath]);
  }
  // Last: until here the ledger says what the rest is.
  await removeLedger(paths.ledger);
}

async function clearKernel(kernel: Kernel, record: PoolRecord): Promise<void> {
  try {
    await kernel.dm.removeDevice({ uuid: poolDmUuid(record.uuid) });
  } catch (error) {
    if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
  }
  if (record.backing !== "files") return;
  for (const path of [record.dataPath, record.metadataPath]) {
    if (!(await exists(path))) continue;
    for (const loop of await kernel.loops.findByBackingFile(path)) {
      await kernel.loops.detach(loop.path);
    }
  }
}

function poolExists(object: string, reason: string): PoolError {
  return new PoolError({
    code: "POOL_EXISTS",
    operation: "creation",
    object,
    reason,
    hint: "Open that pool, or choose another folder.",
  });
}
