/** Taking over a pool that another program or machine made: its devices are read from its metadata. */
import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { SECTOR_SIZE_BYTES, transactionId } from "@thinpool/dm-native";
import { attachBacking, type Backing } from "../backing.ts";
import { defaultLowWaterBlocks } from "../defaults.ts";
import { DeviceStates } from "../device-state.ts";
import { PoolError } from "../errors.ts";
import { isNative, poolErrorFrom } from "../errors-from-native.ts";
import {
  checkFolderName,
  createFile,
  exists,
  folderPaths,
  prepareFolder,
  removeDaemonFiles,
  removeFile,
  removeLedger,
} from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { lockPool } from "../lock.ts";
import { checkNobodysFiles } from "../own-folder.ts";
import { deviceName } from "../names.ts";
import { checkStoragePath, DEVICE_GRANULARITY_BYTES, MIN_DEVICE_BYTES } from "../options.ts";
import type { ThinPool } from "../pool.ts";
import { PoolDevice } from "../pool-device.ts";
import { probeKernel } from "../probe.ts";
import type { MonitorOptions } from "../space/monitor.ts";
import { changedPolicy, defaultPolicy, type SpacePolicy } from "../space/policy.ts";
import { type DeviceRecord, Ledger, type NewPool, type PoolRecord } from "../store/ledger.ts";
import { poolTable } from "../tables.ts";
import { ThinDevices } from "../thin-devices.ts";
import { Pool } from "../thin-pool.ts";
import type { MetadataDevice, MetadataListing } from "../tools/metadata-tools.ts";
import { degradedError, UndoError, withUndo } from "../undo.ts";
import { type AdoptedContent, readContent } from "./adopted-content.ts";
import { oneLine } from "./before-activation.ts";
import { statusForOpening } from "./sick-pool.ts";
import { toolCall } from "./tool-calls.ts";

export interface AdoptPoolOptions {
  /** Where the ledger is put; it must not hold a pool. Data and metadata stay where they are. */
  readonly folder: string;
  readonly kernel: Kernel;
  readonly backing: {
    readonly type: "files" | "block";
    /** Absolute. */
    readonly dataPath: string;
    readonly metadataPath: string;
  };
  /** A device's name by its thin id; `thin-ID` by default. */
  readonly name?: (thinId: number) => string;
  /** Its size, where it is known: the pool does not store it. */
  readonly sizeBytes?: (thinId: number) => bigint | undefined;
  readonly lowWaterBlocks?: bigint;
  readonly monitor?: MonitorOptions | false;
}

export interface AdoptedDevice {
  readonly name: string;
  readonly thinId: number;
  readonly sizeBytes: bigint;
  /** "given"; "filesystem": its superblock says so; "mapped": as far as blocks are mapped, at least. */
  readonly sizeFrom: "given" | "filesystem" | "mapped";
}

export interface AdoptResult {
  readonly outcome: "adopted";
  readonly pool: ThinPool;
  readonly devices: readonly AdoptedDevice[];
}

/**
 * Makes a ledger for a pool that is down (made with dmsetup, left by another machine, or by LVM as long
 * as its transaction id is 0) and opens it. Nothing of the pool itself is changed. POOL_EXISTS,
 * DEVICE_BUSY while it is in use, POOL_MISMATCH where it is no pool or LVM counts its transactions,
 * POOL_NEEDS_REPAIR, POOL_TOOL_MISSING.
 *
 * A crash leaves no ledger, or one in which sizes that were to come from filesystems are still those of
 * the mapped blocks.
 */
export async function adoptPool(options: AdoptPoolOptions): Promise<AdoptResult> {
  const { kernel, folder } = options;
  try {
    checkFolderName(folder);
    checkStoragePath(options.backing.dataPath);
    checkStoragePath(options.backing.metadataPath);
    await probeKernel(kernel);
    return await withUndo(async (undo) => {
      const paths = folderPaths(await prepareFolder(folder, undo));
      const lockExisted = await exists(paths.lock);
      const lock = lockPool(paths, "adoption");
      undo.pushAlways("releasing the lock", () => lock.release());
      if (!lockExisted) undo.push("removing the lock file", () => removeFile(paths.lock));
      if (await exists(paths.ledger)) {
        throw refusal("POOL_EXISTS", folder, "it holds a ledger", "Choose another folder.");
      }
      if (options.backing.type === "files")
        await checkNobodysFiles(options.backing.dataPath, paths);
      const storage = await storageOf(options);
      const backing = await attachBacking(kernel, storage, undo);
      const listing = await readPool(kernel, backing);
      const record = poolRecord(options, paths.folder, storage, listing);
      await refuseCountingLvm(kernel, backing, listing);
      const found = listing.devices.map((device) => newRecord(options, record, device));
      refuseTwins(found.map(({ device }) => device));
      undo.push("removing the ledger", () => removeLedger(paths.ledger));
      await createFile(paths.ledger, 0n, undo);
      const ledger = Ledger.open(paths.ledger);
      undo.pushAlways("closing the ledger", () => ledger.close());
      const policy = adoptedPolicy(record);
      await removeDaemonFiles(paths.folder);
      ledger.adoptPool(
        record,
        policy,
        found.map(({ device }) => device),
      );
      // The ledger's name lasts: with the WAL of a first commit SQLite syncs its folder (os_unix.c).
      const created = { ...record, ...growingTo(record), state: "created" } as const;
      const pool = await PoolDevice.open(kernel, created, [poolTable(record, backing)], undo);
      const status = statusForOpening(await pool.status(), { adopted: false, folder });
      const thins = new ThinDevices(kernel, record.uuid, pool.dev);
      const devices: AdoptedDevice[] = [];
      for (const { device, content } of found) {
        const known = await readContent({ kernel, thins, record, device, content });
        ledger.setDeviceContent(device, known);
        const { sizeBytes, sizeFrom } = known;
        devices.push({ name: device.name, thinId: device.thinId, sizeBytes, sizeFrom });
      }
      return {
        outcome: "adopted" as const,
        devices,
        pool: new Pool({
          kernel,
          folder: paths.folder,
          record: ledger.pool() ?? created,
          lock,
          ledger,
          backing,
          pool,
          thins,
          states: new DeviceStates(),
          transactionId: status.transactionId,
          policy,
          monitor: options.monitor ?? {},
        }),
      };
    });
  } catch (error) {
    if (error instanceof UndoError) throw degradedError("adoption", folder, error);
    throw poolErrorFrom(error, { operation: "adoption", object: folder });
  }
}

type Storage = Pick<
  PoolRecord,
  "backing" | "dataPath" | "metadataPath" | "dataBytes" | "metadataBytes"
>;

async function storageOf(options: AdoptPoolOptions): Promise<Storage> {
  const { kernel, backing } = options;
  const sizeOf = async (path: string): Promise<bigint> => {
    if (backing.type === "block") return kernel.blocks.sizeBytes(path);
    const { size } = await stat(path, { bigint: true });
    return size;
  };
  const { dataPath, metadataPath } = backing;
  const [dataBytes, metadataBytes] = [await sizeOf(dataPath), await sizeOf(metadataPath)];
  return { backing: backing.type, dataPath, metadataPath, dataBytes, metadataBytes };
}

/** Only of a pool that is down: nobody else may write to it from here on. */
async function readPool(kernel: Kernel, backing: Backing): Promise<MetadataListing> {
  for (const { path } of [backing.metadata, backing.data]) {
    if (!(await kernel.blocks.inUse(path))) continue;
    const hint = "Unmount its devices and remove them and the pool (dmsetup remove) first.";
    throw refusal("DEVICE_BUSY", path, "it is in use: the pool may be live", hint);
  }
  const { path } = backing.metadata;
  const signature = await kernel.blocks.signature(path);
  if (signature?.type !== "thin-pool metadata") {
    const reason = `it carries ${signature?.type ?? "nothing"}, no pool's metadata`;
    throw refusal("POOL_MISMATCH", path, reason, "Name the pool's metadata, not its data.");
  }
  const check = await toolCall(() => kernel.metadataTools.check({ path }));
  if (check.outcome === "damaged") {
    const reason = `thin_check: ${oneLine(check.report)}`;
    throw refusal("POOL_NEEDS_REPAIR", path, reason, "Repair it with thin_repair first.");
  }
  return toolCall(() => kernel.metadataTools.read({ path, mappings: true }));
}

type AdoptedRecord = NewPool & Pick<PoolRecord, "lastTransactionId">;

/** Its files or devices were somebody else's: they grow when the admin says so. */
function adoptedPolicy(record: AdoptedRecord): SpacePolicy {
  const change = { dataGrowth: { enabled: false }, metadataGrowth: { enabled: false } };
  return changedPolicy(defaultPolicy(record), change);
}

/** No growth is under way. */
function growingTo(
  record: AdoptedRecord,
): Pick<PoolRecord, "dataTargetBytes" | "metadataTargetBytes"> {
  return { dataTargetBytes: record.dataBytes, metadataTargetBytes: record.metadataBytes };
}

function poolRecord(
  options: AdoptPoolOptions,
  folder: string,
  storage: Storage,
  listing: MetadataListing,
): AdoptedRecord {
  const { blockSectors, dataBlocks, transactionId: current } = listing.superblock;
  const blockBytes = blockSectors * SECTOR_SIZE_BYTES;
  const neededBytes = dataBlocks * blockBytes;
  const has = storage.dataBytes;
  // A file has the size that its ledger says (backing.ts), and a table of all of it would grow the pool.
  const isLonger = storage.backing === "files" && has >= neededBytes + blockBytes;
  if (dataBlocks === 0n || has < neededBytes || isLonger) {
    const reason = `it has ${has} bytes, the metadata speaks of ${neededBytes}`;
    const cut = `; or, if it is that one, cut off what it does not use (truncate -s ${neededBytes})`;
    const hint = `Name the data that belongs to this metadata${isLonger ? cut : ""}.`;
    throw refusal("POOL_MISMATCH", storage.dataPath, reason, hint);
  }
  // No larger than it is: grown, its own program refuses it, and a wrong device could not be taken back.
  const dataBytes = storage.backing === "files" ? has : neededBytes;
  return {
    ...storage,
    dataBytes,
    uuid: randomUUID(),
    folder,
    blockSectors,
    lowWaterBlocks: options.lowWaterBlocks ?? defaultLowWaterBlocks(dataBytes, blockSectors),
    discard: "passdown",
    lastTransactionId: current,
    createdAtMs: Date.now(),
  };
}

function newRecord(
  options: AdoptPoolOptions,
  pool: AdoptedRecord,
  device: MetadataDevice,
): { readonly device: DeviceRecord; readonly content: AdoptedContent } {
  const name = deviceName(options.name?.(device.thinId) ?? `thin-${device.thinId}`);
  const given = options.sizeBytes?.(device.thinId);
  const blockBytes = pool.blockSectors * SECTOR_SIZE_BYTES;
  const mapped = device.highestBlock === undefined ? 0n : (device.highestBlock + 1n) * blockBytes;
  const sizeBytes = given ?? (mapped < MIN_DEVICE_BYTES ? MIN_DEVICE_BYTES : mapped);
  if (sizeBytes < mapped || sizeBytes % DEVICE_GRANULARITY_BYTES !== 0n) {
    const reason = `it can't have ${sizeBytes} bytes: blocks are mapped up to ${mapped}`;
    throw refusal("POOL_OPTION_INVALID", name, reason, "Give a multiple of 4096, large enough.");
  }
  // Made at that number, so it counts from the next; where numbers were never counted, from the start.
  const counted = device.transactionId + 1n;
  const current = pool.lastTransactionId;
  return {
    content: { sizeBytes, sizeFrom: given === undefined ? "mapped" : "given", filesystem: "none" },
    device: {
      uuid: randomUUID(),
      name,
      thinId: device.thinId,
      sizeBytes,
      filesystem: "none",
      originUuid: undefined,
      ownerUid: 0,
      createdAtMs: Date.now(),
      readOnly: false,
      labels: {},
      externalOrigin: undefined,
      growing: false,
      filling: false,
      transactionId: counted > current ? current : transactionId(counted),
      deletingTransactionId: undefined,
    },
  };
}

function refuseTwins(devices: readonly DeviceRecord[]): void {
  const ids = new Map<string, number>();
  for (const { name, thinId } of devices) {
    const other = ids.get(name);
    if (other !== undefined) {
      const reason = `thin ids ${other} and ${thinId} would both have that name`;
      throw refusal("POOL_OPTION_INVALID", name, reason, "Give each a name of its own.");
    }
    ids.set(name, thinId);
  }
}

/** LVM refuses a pool whose number is not the one it wrote down; at 0 it leaves the counting to others. */
async function refuseCountingLvm(
  kernel: Kernel,
  backing: Backing,
  listing: MetadataListing,
): Promise<void> {
  if (listing.superblock.transactionId === 0n) return;
  for (const { dev, path } of [backing.data, backing.metadata]) {
    let uuid: string | undefined;
    try {
      uuid = (await kernel.dm.deviceStatus({ dev })).uuid;
    } catch (error) {
      // It is no dm device.
      if (!isNative(error, "NATIVE_NOT_FOUND") && !isNative(error, "NATIVE_INVALID")) throw error;
    }
    if (uuid?.startsWith("LVM-") !== true) continue;
    const reason = `LVM counts this pool's transactions (it is at ${listing.superblock.transactionId})`;
    throw refusal(
      "POOL_MISMATCH",
      path,
      reason,
      "Drive it with LVM, which would refuse it after us.",
    );
  }
}

function refusal(code: PoolError["code"], object: string, reason: string, hint: string): PoolError {
  return new PoolError({ code, operation: "adoption", object, reason, hint });
}
