/** What each method does, once the policy has let it. */
import type { MethodName, MethodParams, MethodResult } from "@thinpool/protocol";
import type { Device, PoolStatus, ThinPool } from "@thinpool/thinpool";
import { RequestError } from "./errors.ts";
import type { Principal } from "./policy/policy.ts";
import { isVisible } from "./policy/policy.ts";
import type { HeldReference, MountService } from "./references/mount-service.ts";
import { MAX_DEVICES_PER_UID, MAX_REFERENCES_PER_UID, Quota } from "./references/quota.ts";

export type Handlers = {
  readonly [M in MethodName]: (
    params: MethodParams<M>,
    principal: Principal,
  ) => Promise<MethodResult<M>>;
};

export function makeHandlers(pool: ThinPool, mounts: MountService): Handlers {
  const devices = new Quota("devices", MAX_DEVICES_PER_UID);
  const references = new Quota("references", MAX_REFERENCES_PER_UID);
  return {
    "pool.status": async () => statusToWire(await pool.status()),

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

    "mount.create": async ({ device }, principal) => {
      const held = mounts.countOf(principal.uid);
      const reference = await references.reserve(principal.uid, held, () =>
        mounts.create(principal, pool.get({ name: device })),
      );
      return mountToWire(reference);
    },

    "mount.release": async ({ reference }) => {
      const released = await mounts.release(reference);
      if (released !== undefined) return released;
      throw new RequestError({
        code: "NOT_MOUNTED",
        operation: "mount.release",
        object: reference,
        reason: "you hold no such reference",
      });
    },

    "mount.list": (_params, { uid }) => {
      const own = mounts.list().filter(({ holderUid }) => uid === 0 || holderUid === uid);
      return Promise.resolve(own.map(mountToWire));
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

function mountToWire(held: HeldReference): MethodResult<"mount.create"> {
  const { reference, device, path, holderUid, count } = held;
  return { reference, device, path, ownerUid: holderUid, count };
}

function statusToWire(status: PoolStatus): MethodResult<"pool.status"> {
  return {
    uuid: status.uuid,
    state: status.state,
    transactionId: status.transactionId.toString(),
    blockSizeBytes: status.blockSizeBytes.toString(),
    dataUsedBytes: status.dataUsedBytes.toString(),
    dataTotalBytes: status.dataTotalBytes.toString(),
    metadataUsedBytes: status.metadataUsedBytes.toString(),
    metadataTotalBytes: status.metadataTotalBytes.toString(),
    lowWaterBytes: status.lowWaterBytes.toString(),
    deviceCount: status.deviceCount,
    activeCount: status.activeCount,
    backing: status.backing,
  };
}
