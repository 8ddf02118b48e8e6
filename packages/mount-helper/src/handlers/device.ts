/** device.*: the disks in the pool. */
import type { MethodResult } from "@thinpool/protocol";
import type { Device } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import { isVisible } from "../policy/policy.ts";
import { MAX_DEVICES_PER_UID, Quota } from "../references/quota.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function deviceHandlers(parts: HandlerParts): Topic<"device"> {
  const { pool, mounts, sessions, ephemerals } = parts;
  const devices = new Quota("devices", MAX_DEVICES_PER_UID);
  const toWire = deviceToWire(parts);
  return {
    "device.create": async ({ name, sizeBytes, filesystem }, { uid }, call) => {
      const { device } = await pool.createDevice({
        name,
        ownerUid: uid,
        uuid: call.newUuid(),
        ...(sizeBytes === undefined ? {} : { sizeBytes: BigInt(sizeBytes) }),
        ...(filesystem === undefined ? {} : { filesystem }),
      });
      return toWire(device);
    },

    "device.clone": async ({ origin, name, ephemeral = false }, { uid }, call) => {
      // The one that the policy has just judged: nothing was awaited since.
      const judged = pool.get({ name: origin });
      const held = pool.list().filter(({ ownerUid }) => ownerUid === uid).length;
      const make = async (): Promise<Device> =>
        (await pool.snapshot({ origin, name, ownerUid: uid, uuid: call.newUuid() })).device;
      const device = await devices.reserve(uid, held, () => {
        if (!ephemeral) return make();
        const session = sessions.of(uid, call.connection);
        sessions.keep(session);
        return ephemerals.create(name, session, make);
      });
      if (device.originUuid !== judged.uuid) {
        // While this waited, the origin was removed and another took its name.
        await pool.remove({ name });
        ephemerals.forget(device);
        throw new RequestError({
          code: "NOT_FOUND",
          operation: "device.clone",
          object: origin,
          reason: "the device was removed meanwhile",
        });
      }
      return toWire(device);
    },

    "device.list": (_params, principal) => {
      const visible = pool.list().filter(({ ownerUid }) => isVisible(principal, ownerUid));
      return Promise.resolve(visible.map(toWire));
    },

    "device.get": ({ name }) => Promise.resolve(toWire(pool.get({ name }))),

    "device.remove": async ({ name }) => {
      const device = pool.get({ name });
      await mounts.assertRemovable(device);
      await pool.remove({ name });
      mounts.forget(device);
      return {};
    },
  };
}

/** A device as the wire has it, with what the daemon knows of it beyond the engine. */
export function deviceToWire({
  ephemerals,
  mounts,
}: Pick<HandlerParts, "ephemerals" | "mounts">): (device: Device) => MethodResult<"device.get"> {
  return (device) => ({
    ...engineDeviceToWire(device),
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
  };
}
