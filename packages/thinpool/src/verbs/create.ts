import type { Device } from "../device.ts";
import { DEFAULT_DEVICE_BYTES } from "../defaults.ts";
import type { Engine } from "../engine.ts";
import type { FilesystemType } from "../kernel.ts";
import { checkDeviceOptions } from "../options.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import { withUndo } from "../undo.ts";
import { makeDevice, newDevice } from "./make-device.ts";

export interface CreateDeviceOptions {
  readonly name: string;
  readonly sizeBytes?: bigint;
  readonly filesystem?: FilesystemType | "none";
  readonly ownerUid?: number;
}

export interface CreateDeviceResult {
  readonly outcome: "created";
  readonly device: Device;
}

export function createDevice(
  engine: Engine,
  options: CreateDeviceOptions,
): Promise<CreateDeviceResult> {
  return engine.changeDevice("creation", options.name, async (name) => {
    const sizeBytes = options.sizeBytes ?? DEFAULT_DEVICE_BYTES;
    const filesystem = options.filesystem ?? "ext4";
    const ownerUid = options.ownerUid ?? 0;
    checkDeviceOptions(sizeBytes, filesystem, ownerUid);
    const record = await makeDevice(engine, {
      device: newDevice({ name, sizeBytes, filesystem, ownerUid, originUuid: undefined }),
      verb: "create",
      make: (id) => engine.pool.createThin(id),
      fill: filesystem === "none" ? undefined : (made) => makeFilesystem(engine, made, filesystem),
    });
    return { outcome: "created", device: engine.view(record) };
  });
}

/** Activates it for mkfs only: the device counts once its filesystem is whole and flushed. */
async function makeFilesystem(
  engine: Engine,
  record: DeviceRecord,
  type: FilesystemType,
): Promise<void> {
  const { kernel, thins } = engine;
  await withUndo(async (undo) => {
    await thins.activate(record);
    undo.push("deactivating it", () => thins.deactivate(record.uuid));
    await kernel.filesystems.make({ path: engine.path(record), type });
    await thins.deactivate(record.uuid);
  });
}
