/** device.*: the disks in the pool. */
import type { MethodResult } from "@thinpool/protocol";
import type { Device } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import { isVisible } from "../policy/policy.ts";
import { MAX_DEVICES_PER_UID, Quota } from "../references/quota.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function deviceHandlers({ pool, mounts }: HandlerParts): Topic<"device"> {
  const devices = new Quota("devices", MAX_DEVICES_PER_UID);
  return {
    "device.create": async ({ name, sizeBytes, filesystem }, { uid }) => {
      const { device } = await pool.createDevice({
        name,
        ownerUid: uid,
        ...(sizeBytes === undefined ? {} : { sizeBytes: BigInt(sizeBytes) }),
        ...(filesystem === undefined ? {} : { filesystem }),
      });
      return deviceToWire(device);
    },

    "device.clone": async ({ origin, name }, { uid }) => {
      // The one that the policy has just judged: nothing was awaited since.
      const judged = pool.get({ name: origin });
      const held = pool.list().filter(({ ownerUid }) => ownerUid === uid).length;
      const { device } = await devices.reserve(uid, held, () =>
        pool.snapshot({ origin, name, ownerUid: uid }),
      );
      if (device.originUuid !== judged.uuid) {
        // While this waited, the origin was removed and another took its name.
        await pool.remove({ name });
        throw new RequestError({
          code: "NOT_FOUND",
          operation: "device.clone",
          object: origin,
          reason: "the device was removed meanwhile",
        });
      }
      return deviceToWire(device);
    },

    "device.list": (_params, principal) => {
      const visible = pool.list().filter(({ ownerUid }) => isVisible(principal, ownerUid));
      return Promise.resolve(visible.map(deviceToWire));
    },

    "device.get": ({ name }) => Promise.resolve(deviceToWire(pool.get({ name }))),

    "device.remove": async ({ name }) => {
      const device = pool.get({ name });
      await mounts.assertRemovable(device);
      await pool.remove({ name });
      mounts.forget(device);
      return {};
    },
  };
}

function deviceToWire(device: Device): MethodResult<"device.get"> {
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
