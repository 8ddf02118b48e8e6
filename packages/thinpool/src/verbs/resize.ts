import { sameDevNumber } from "@thinpool/dm-native";
import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import type { FilesystemType } from "../kernel.ts";
import { checkDeviceOptions } from "../options.ts";
import type { DeviceRecord } from "../store/records.ts";
import { withUndo } from "../undo.ts";

export interface ResizeOptions {
  readonly name: string;
  /** Not below the present one. */
  readonly sizeBytes: bigint;
  /** Ends the waiting for others; growing a filesystem is not interrupted. */
  readonly signal?: AbortSignal;
}

export interface ResizeResult {
  readonly outcome: "grown" | "already-so";
  /**
   * "none": it has none, or that has the size already. "later": xfs grows while it is mounted only, and nothing grows on a read-only device or one that
   * somebody has open unmounted. Ask again then: the device says `filesystemSmaller` until it is done.
   */
  readonly filesystem: "grown" | "none" | "later";
  readonly device: Device;
}

/**
 * Grows a device, active and mounted or not, and its filesystem. The record first: the pool has
 * nothing to say to a thin device's size, and a table that a crash kept shorter is reloaded by
 * opening. The filesystem's growth goes on when `resize` is called again.
 */
export function resize(engine: Engine, options: ResizeOptions): Promise<ResizeResult> {
  const { name: object, sizeBytes, signal } = options;
  return engine.changeDevice(
    "resize",
    object,
    async (name) => {
      const record = engine.device("resize", name);
      checkSize(record, sizeBytes);
      const grown =
        sizeBytes > record.sizeBytes ? await growDevice(engine, record, sizeBytes) : record;
      const outcome = grown === record ? "already-so" : "grown";
      if (!grown.growing) return { outcome, filesystem: "none", device: engine.view(grown) };
      const filesystem = await engine.tools.run(() => growFilesystem(engine, grown), signal);
      if (filesystem === "later") return { outcome, filesystem, device: engine.view(grown) };
      const done = engine.ledger.updateDevice(grown, { growing: false }, engine.transactionId);
      return { outcome: "grown", filesystem, device: engine.view(done) };
    },
    signal,
  );
}

function growDevice(
  engine: Engine,
  record: DeviceRecord,
  sizeBytes: bigint,
): Promise<DeviceRecord> {
  const { ledger, states, thins, transactionId } = engine;
  const { growing } = record;
  // In the same turn as its record: two that each would fit are asked for at one moment.
  const promised = ledger.promisedBytes(transactionId) + sizeBytes - record.sizeBytes;
  const refused = engine.space.refusePromise("resize", record.name, promised);
  if (refused !== undefined) return Promise.reject(refused);
  return withUndo(async (undo) => {
    const change = { sizeBytes, growing: growing || record.filesystem !== "none" };
    const grown = ledger.updateDevice(record, change, transactionId);
    undo.push("taking the size back", () => {
      ledger.updateDevice(grown, { sizeBytes: record.sizeBytes, growing }, transactionId);
    });
    if (states.isActive(record.uuid)) {
      // Somebody removed its dm device: it is inactive, whatever we thought.
      const outcome = await engine.withPool(() => thins.reload(grown));
      if (outcome === "gone") states.set(record.uuid, "inactive");
    }
    return grown;
  });
}

async function growFilesystem(engine: Engine, record: DeviceRecord): Promise<"grown" | "later"> {
  const { filesystem: type } = record;
  if (type === "none" || record.readOnly) return "later";
  const { kernel, states, thins } = engine;
  if (states.isActive(record.uuid)) {
    const info = await thins.info(record.uuid);
    const mounts = await kernel.mounts.list();
    const mount = mounts.find(({ dev }) => sameDevNumber(dev, info.dev));
    if (mount !== undefined) return grow(engine, record, type, mount.mountPoint);
    return info.openCount > 0 || type === "xfs" ? "later" : grow(engine, record, type);
  }
  if (type === "xfs") return "later";
  return withUndo(async (undo) => {
    await engine.withPool(() => thins.activate(record));
    undo.push("deactivating it", () => engine.withPool(() => thins.deactivate(record.uuid)));
    const outcome = await grow(engine, record, type);
    await engine.withPool(() => thins.deactivate(record.uuid));
    return outcome;
  });
}

async function grow(
  engine: Engine,
  record: DeviceRecord,
  type: FilesystemType,
  mountPoint?: string,
): Promise<"grown"> {
  await engine.kernel.filesystems.grow({ path: engine.path(record), type, mountPoint });
  return "grown";
}

function checkSize(record: DeviceRecord, sizeBytes: bigint): void {
  checkDeviceOptions(sizeBytes, record.filesystem, record.ownerUid);
  if (sizeBytes >= record.sizeBytes) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "resize",
    object: record.name,
    reason: `it has ${record.sizeBytes} bytes, and a smaller device would cut what it holds`,
    hint: "Make a new, smaller device and copy the files.",
  });
}
