/** mount.*: references to mounted devices. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { count, deviceName, uid, uuid } from "./scalars.ts";

export const mount = v.object({
  /** The reference: what `mount.release` takes. */
  reference: uuid,
  device: deviceName,
  path: v.string(),
  ownerUid: uid,
  /** How many references hold the device mounted, this one included. */
  count: v.pipe(v.number(), v.integer(), v.minValue(1)),
});

export const mountMethods = {
  "mount.create": {
    changes: true,
    summary: "Takes a reference to a device; the first one activates and mounts it.",
    params: v.object({ device: deviceName }),
    result: mount,
  },
  "mount.release": {
    changes: true,
    summary: "Gives a reference up; the last one unmounts and deactivates.",
    params: v.object({ reference: uuid }),
    result: v.object({
      device: deviceName,
      /** References left; 0: it was unmounted and deactivated. */
      count,
    }),
  },
  "mount.list": {
    changes: false,
    summary: "The caller's references; all of them for root.",
    params: v.object({}),
    result: v.array(mount),
  },
} as const satisfies Methods;
