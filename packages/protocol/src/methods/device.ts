/** device.*: the disks in the pool. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import {
  count,
  deviceName,
  filesystem,
  label,
  labelsTo,
  timeMs,
  tokenSecret,
  u64,
  uid,
  uuid,
} from "./scalars.ts";

/** As many as a device can have. */
export const MAX_FILTER_LABELS = 32;

/** The devices of one page of `device.list`. */
export const MAX_DEVICES_PER_PAGE = 500;

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
  readOnly: v.optional(v.boolean()),
  /** What users wrote on it, by key. */
  labels: v.optional(labelsTo(label)),
  /** Growing it has not ended: its filesystem does not fill it. */
  filesystemSmaller: v.optional(v.boolean()),
  /** An image of root's that others may clone. */
  public: v.optional(v.boolean()),
  /** It goes with its last reference. */
  ephemeral: v.optional(v.boolean()),
  /** Nobody holds its mount any more, but a process still works in it. */
  releasing: v.optional(v.boolean()),
});

/**
 * What is there all the time under one name is in exactly one of the pages. One that is renamed
 * between two pages can be missing, or come twice.
 */
export const devicePage = v.object({
  devices: v.array(device),
  /** Asks for the next page as `after`; absent: there is none. */
  next: v.optional(deviceName),
});

export const deviceMethods = {
  "device.create": {
    changes: true,
    summary: "Makes an empty device, where the policy allows it. Default: 10 GiB with ext4.",
    params: v.object({
      name: deviceName,
      sizeBytes: v.optional(u64),
      filesystem: v.optional(filesystem),
      onBehalfOf: v.optional(uid),
    }),
    result: device,
  },
  "device.clone": {
    changes: true,
    summary: "Makes a copy-on-write copy that belongs to the caller.",
    params: v.object({
      origin: deviceName,
      name: deviceName,
      /** Remove it with its last reference; until its first mount the caller's session holds it. */
      ephemeral: v.optional(v.boolean()),
      /** Does where the policy does not let the caller clone the origin. */
      token: v.optional(tokenSecret),
      /** The user in whose name this is done: a right of its own, and then his rights decide. */
      onBehalfOf: v.optional(uid),
    }),
    result: device,
  },
  "device.list": {
    changes: false,
    summary:
      "The caller's own devices and the images, by name, all of them for root; those that all filters fit.",
    params: v.object({
      /** All of these, with these values. A list, since as an object's keys some names would be lost. */
      labels: v.optional(
        v.pipe(v.array(v.object({ key: label, value: label })), v.maxLength(MAX_FILTER_LABELS)),
      ),
      ownerUid: v.optional(uid),
      /** Made from this one, by cloning or a snapshot. */
      origin: v.optional(deviceName),
      /** Only those behind this name, by its bytes; the last page's `next`. */
      after: v.optional(deviceName),
      /** A page of so many devices. Absent: all at once, and the result is the array alone. */
      limit: v.optional(v.pipe(count, v.minValue(1), v.maxValue(MAX_DEVICES_PER_PAGE))),
    }),
    /** A daemon that does not know `limit` answers with all of them. */
    result: v.union([v.array(device), devicePage]),
  },
  "device.get": {
    changes: false,
    summary: "One device by its name.",
    params: v.object({ name: deviceName }),
    result: device,
  },
  "device.publish": {
    changes: true,
    summary:
      "Makes one of root's devices an image for all whom the policy lets clone public ones, or no longer.",
    params: v.object({ name: deviceName, public: v.boolean() }),
    result: device,
  },
  "device.remove": {
    changes: true,
    summary: "Removes a device that is not mounted.",
    params: v.object({ name: deviceName, onBehalfOf: v.optional(uid) }),
    result: v.object({}),
  },
} as const satisfies Methods;
