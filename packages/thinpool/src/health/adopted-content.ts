/** What an adopted device holds: read once through a dm device of its own, nothing is written. */
import type { DeviceRecord, PoolRecord } from "../store/ledger.ts";
import { dmNodePath } from "@thinpool/dm-native";
import { deviceDmName } from "../dm-names.ts";
import type { Kernel } from "../kernel.ts";
import { DEVICE_GRANULARITY_BYTES } from "../options.ts";
import type { ThinDevices } from "../thin-devices.ts";
import { withUndo } from "../undo.ts";
import { filesystemBytes, SUPERBLOCK_HEAD_BYTES } from "./superblock-size.ts";

export interface AdoptedContent {
  readonly sizeBytes: bigint;
  readonly sizeFrom: "given" | "filesystem" | "mapped";
  readonly filesystem: DeviceRecord["filesystem"];
}

/** `content` with its filesystem, and with the size that it was made for unless one was given. */
export async function readContent(options: {
  readonly kernel: Kernel;
  readonly thins: ThinDevices;
  readonly record: Pick<PoolRecord, "uuid">;
  readonly device: DeviceRecord;
  readonly content: AdoptedContent;
}): Promise<AdoptedContent> {
  const { kernel, thins, record, device, content } = options;
  return withUndo(async (undo) => {
    await thins.activate(device);
    undo.push("deactivating it", () => thins.deactivate(device.uuid));
    const path = dmNodePath(deviceDmName(record.uuid, device.name));
    const signature = await kernel.blocks.signature(path);
    const type = signature?.type;
    let found = content;
    if (type === "ext4" || type === "xfs") {
      const range = { offsetBytes: 0n, lengthBytes: SUPERBLOCK_HEAD_BYTES };
      const bytes = filesystemBytes(type, await kernel.blocks.read(path, range));
      const usable = bytes >= content.sizeBytes && bytes % DEVICE_GRANULARITY_BYTES === 0n;
      found =
        usable && content.sizeFrom === "mapped"
          ? { sizeBytes: bytes, sizeFrom: "filesystem", filesystem: type }
          : { ...content, filesystem: type };
    }
    await thins.deactivate(device.uuid);
    return found;
  });
}
