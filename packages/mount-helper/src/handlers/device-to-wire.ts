/** A device as callers see it. */
import type { MethodResult } from "@thinpool/protocol";
import type { Device } from "@thinpool/thinpool";
import type { HandlerParts } from "./handler.ts";

/** A device as the wire has it, with what the daemon knows of it beyond the engine. */
export function deviceToWire({
  ephemerals,
  mounts,
  book,
}: Pick<HandlerParts, "ephemerals" | "mounts" | "book">): (
  device: Device,
) => MethodResult<"device.get"> {
  return (device) => ({
    ...engineDeviceToWire(device),
    ...(book.isPublic(device.uuid) ? { public: true } : {}),
    ...(ephemerals.has(device.uuid) ? { ephemeral: true } : {}),
    ...(mounts.isReleasing(device.uuid) ? { releasing: true } : {}),
  });
}

function engineDeviceToWire(device: Device): MethodResult<"device.get"> {
  return {
    name: device.name,
    uuid: device.uuid,
    thinId: device.thinId,
    sizeBytes: device.sizeBytes.toString(),
    filesystem: device.filesystem,
    ...(device.originUuid === undefined ? {} : { originUuid: device.originUuid }),
    createdAtMs: device.createdAtMs,
    transactionId: device.transactionId.toString(),
    ownerUid: device.ownerUid,
    active: device.active,
    readOnly: device.readOnly,
    labels: { ...device.labels },
    filesystemSmaller: device.filesystemSmaller,
  };
}
