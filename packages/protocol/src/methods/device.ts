/** device.*: the disks in the pool. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { deviceName, filesystem, timeMs, u64, uid, uuid } from "./scalars.ts";

export const device = v.object({
  name: deviceName,
  uuid,
  thinId: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xff_ffff)),
  sizeBytes: u64,
  filesystem,
  originUuid: v.optional(uuid),
  createdAtMs: timeMs,
  transactionId: u64,
  ownerUid: uid,
  active: v.boolean(),
});

export const deviceMethods = {
  "device.create": {
    changes: true,
    summary: "Makes an empty device; root only. Default: 10 GiB with ext4.",
    params: v.object({
      name: deviceName,
      sizeBytes: v.optional(u64),
      filesystem: v.optional(filesystem),
    }),
    result: device,
  },
  "device.clone": {
    changes: true,
    summary: "Makes a copy-on-write copy that belongs to the caller.",
    params: v.object({ origin: deviceName, name: deviceName }),
    result: device,
  },
  "device.list": {
    changes: false,
    summary: "The caller's own devices and the images; all of them for root.",
    params: v.object({}),
    result: v.array(device),
  },
  "device.get": {
    changes: false,
    summary: "One device by its name.",
    params: v.object({ name: deviceName }),
    result: device,
  },
  "device.remove": {
    changes: true,
    summary: "Removes a device that is not mounted.",
    params: v.object({ name: deviceName }),
    result: v.object({}),
  },
} as const satisfies Methods;
