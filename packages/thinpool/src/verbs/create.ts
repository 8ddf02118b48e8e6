import { sameDevNumber } from "@thinpool/dm-native";
import type { Device } from "../device.ts";
import { DEFAULT_DEVICE_BYTES } from "../defaults.ts";
import { dmDevicesOf } from "../dm-devices.ts";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import type { FilesystemType } from "../kernel.ts";
import { checkLabels } from "../labels.ts";
import { checkMkfsOptions, type MkfsOptions } from "../mkfs-options.ts";
import { deviceName } from "../names.ts";
import { checkDeviceOptions, checkStoragePath } from "../options.ts";
import type { DeviceRecord, Labels } from "../store/records.ts";
import { withUndo } from "../undo.ts";
import { deleteRecord, makeDevices, newDevice } from "./steps.ts";

export interface CreateDeviceOptions {
  readonly name: string;
  /** Default 10 GiB; with an external origin its size. */
  readonly sizeBytes?: bigint;
  /** Default ext4; with an external origin what that one carries, and none is made. */
  readonly filesystem?: FilesystemType | "none";
  readonly mkfs?: MkfsOptions;
  readonly ownerUid?: number;
  /** Where the caller must be able to find again what it asked for; never used before. Default random. */
  readonly uuid?: string | undefined;
  readonly labels?: Labels;
  /** Activated read-only from now on; its filesystem is made before. */
  readonly readOnly?: boolean;
  /**
   * A block device that is never written while the pool has devices on it: the new device reads
   * through to it. By a path that names it after a reboot too.
   */
  readonly externalOrigin?: string;
  /** Ends the waiting and mkfs: nothing is left. */
  readonly signal?: AbortSignal;
}

export interface CreateDeviceResult {
  readonly outcome: "created";
  readonly device: Device;
}

/**
 * A device with a filesystem counts once that is whole and flushed: until then its record is
 * `filling`, and opening removes it (INV-12). mkfs runs outside the transaction, so nobody waits for it.
 */
export function createDevice(
  engine: Engine,
  options: CreateDeviceOptions,
): Promise<CreateDeviceResult> {
  const { name: object, signal } = options;
  const request = { operation: "creation", object, changes: [object], signal };
  return engine.changeDevices(request, async () => {
    const { sizeBytes, filesystem, externalOrigin } = await content(engine, options);
    const ownerUid = options.ownerUid ?? 0;
    checkDeviceOptions(sizeBytes, filesystem, ownerUid);
    const admission = engine.space.admit("creation", object, sizeBytes);
    if (admission !== undefined) await admission;
    const labels = checkLabels(options.labels ?? {});
    const mkfs = checkMkfsOptions(options.mkfs ?? {}, filesystem);
    const toFill = filesystem === "none" || externalOrigin !== undefined ? undefined : filesystem;
    const device = newDevice({
      ...(options.uuid === undefined ? {} : { uuid: options.uuid }),
      name: deviceName(object),
      sizeBytes,
      filesystem,
      ownerUid,
      labels,
      readOnly: options.readOnly ?? false,
      externalOrigin,
      filling: toFill !== undefined,
    });
    return withUndo(async (undo) => {
      const { records } = await makeDevices(engine, [{ device, origin: undefined }]);
      let [record] = records as readonly [DeviceRecord];
      if (toFill !== undefined) {
        const made = record;
        undo.push("removing it", () => deleteRecord(engine, made));
        const fill = (): Promise<void> => makeFilesystem(engine, made, toFill, mkfs, signal);
        await engine.tools.run(fill, signal);
        record = engine.ledger.finishFilling(made);
      }
      return { outcome: "created", device: engine.view(record) };
    });
  });
}

async function content(
  engine: Engine,
  options: CreateDeviceOptions,
): Promise<Pick<DeviceRecord, "sizeBytes" | "filesystem" | "externalOrigin">> {
  const { externalOrigin: path } = options;
  if (path === undefined) {
    return {
      sizeBytes: options.sizeBytes ?? DEFAULT_DEVICE_BYTES,
      filesystem: options.filesystem ?? "ext4",
      externalOrigin: undefined,
    };
  }
  checkStoragePath(path);
  const { blocks } = engine.kernel;
  try {
    await refuseOurOwn(engine, path);
    const carried = (await blocks.signature(path))?.type;
    return {
      sizeBytes: options.sizeBytes ?? (await blocks.sizeBytes(path)),
      filesystem:
        options.filesystem ?? (carried === "ext4" || carried === "xfs" ? carried : "none"),
      externalOrigin: path,
    };
  } catch (error) {
    throw poolErrorFrom(error, {
      operation: "look-up of the external origin",
      object: path,
      codes: { NATIVE_NOT_FOUND: "POOL_OPTION_INVALID", NATIVE_INVALID: "POOL_OPTION_INVALID" },
    });
  }
}

/** A device of this very pool is written, reverted and removed: then what reads through to it would change. */
async function refuseOurOwn(engine: Engine, path: string): Promise<void> {
  const dev = await engine.kernel.blocks.number(path);
  const devices = await dmDevicesOf(engine.kernel, engine.uuid);
  if (!devices.some((info) => sameDevNumber(info.dev, dev))) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "look-up of the external origin",
    object: path,
    reason: "it is a device of this pool",
    hint: "Make a snapshot of it.",
  });
}

/** Activates it for mkfs only. */
async function makeFilesystem(
  engine: Engine,
  record: DeviceRecord,
  type: FilesystemType,
  mkfs: MkfsOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { kernel, thins } = engine;
  await withUndo(async (undo) => {
    await engine.withPool(() => thins.activate(record, { writable: true }));
    undo.push("deactivating it", () => engine.withPool(() => thins.deactivate(record.uuid)));
    await kernel.filesystems.make({
      path: engine.path(record),
      type,
      options: mkfs,
      ...(signal === undefined ? {} : { signal }),
    });
    await engine.withPool(() => thins.deactivate(record.uuid));
  });
}
