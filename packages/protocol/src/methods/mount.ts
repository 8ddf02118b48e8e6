/** mount.*: references to mounted devices. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { count, deviceName, timeMs, tokenSecret, uid, uuid } from "./scalars.ts";

export const mount = v.object({
  /** The reference: what `mount.release` takes. */
  reference: uuid,
  device: deviceName,
  path: v.string(),
  ownerUid: uid,
  /** How many references hold the device active, this one included, at whatever place. */
  count: v.pipe(v.number(), v.integer(), v.minValue(1)),
  holder: v.optional(v.picklist(["session", "lease", "permanent"])),
  /** Of a lease: the time that is left of it. */
  leaseLeftMs: v.optional(timeMs),
  readOnly: v.optional(v.boolean()),
  /** `path` is a block device: it is not mounted, but the caller's to use as a disk. */
  block: v.optional(v.boolean()),
  /** False where it is to be mounted again after a reboot and is not yet. */
  mounted: v.optional(v.boolean()),
});

/**
 * What keeps a reference. "session" (the default): as long as the client's session lives. "lease":
 * until its time to live has passed since it was taken or last renewed. "permanent": until it is
 * released; an administrator's to make.
 */
export const mountHolder = v.variant("type", [
  v.object({ type: v.literal("session") }),
  v.object({ type: v.literal("lease"), ttlMs: timeMs }),
  v.object({ type: v.literal("permanent") }),
]);

/** PATH_MAX, with its NUL. */
const MAX_PATH_LENGTH = 4095;

export const mountMethods = {
  "device.activate": {
    changes: true,
    summary:
      "Takes a reference to a device as a block device of the caller's, as for a machine's disk.",
    params: v.object({
      name: deviceName,
      holder: v.optional(mountHolder),
      /** The node can't be opened for writing. */
      readOnly: v.optional(v.boolean()),
    }),
    result: mount,
  },
  "mount.create": {
    changes: true,
    summary: "Takes a reference to a device; the first one activates and mounts it.",
    params: v.object({
      device: deviceName,
      holder: v.optional(mountHolder),
      /** An empty folder of the caller's own, absolute; without it the daemon makes a place. */
      folder: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_PATH_LENGTH))),
      /** Nothing is written to the device, the filesystem's journal included. */
      readOnly: v.optional(v.boolean()),
      /** No program can be started from the mount. */
      noExec: v.optional(v.boolean()),
      /** Symbolic links in the mount are not followed. */
      noSymFollow: v.optional(v.boolean()),
      /**
       * "mapped" (the default): what is root's on the disk shows as the owner's. "top-folder": only the
       * top folder is given to the owner, on the disk; for kernels that can't map.
       */
      ownership: v.optional(v.picklist(["mapped", "top-folder"])),
      /** Of the device's owner: lets another mount it, read-only, in a place of his own. */
      token: v.optional(tokenSecret),
    }),
    result: mount,
  },
  "mount.renew": {
    changes: true,
    summary: "Begins a lease's time to live anew, with another length if given.",
    params: v.object({ reference: uuid, ttlMs: v.optional(timeMs) }),
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
