/** device.*: what can be done with devices that are there. */
import * as v from "valibot";
import { device } from "./device.ts";
import type { Methods } from "./method.ts";
import { count, deviceName, label, labelsTo, u64 } from "./scalars.ts";

/** Snapshots of one moment that one call may ask for. */
export const MAX_SNAPSHOTS_AT_ONCE = 64;

/** Ranges that one page of `device.changedBlocks` has at most, some 100 bytes each. */
export const MAX_CHANGED_RANGES: number = 16_384;

export const changedRange = v.object({
  /**
   * "changed": both have data there; "added": only the newer has; "removed": only the older had, the
   * newer reads as zeroes.
   */
  kind: v.picklist(["changed", "added", "removed"]),
  offsetBytes: u64,
  lengthBytes: u64,
});

export const deviceVerbMethods = {
  "device.snapshotMany": {
    changes: true,
    summary: "Copies of several devices as they were at one moment; they belong to the caller.",
    params: v.object({
      snapshots: v.pipe(
        v.array(v.object({ origin: deviceName, name: deviceName })),
        v.minLength(1),
        v.maxLength(MAX_SNAPSHOTS_AT_ONCE),
      ),
    }),
    result: v.object({
      /** In the order asked for. */
      devices: v.array(device),
      /** How long those of the origins that are in use were held still, in milliseconds. */
      pauseMs: v.pipe(v.number(), v.minValue(0)),
    }),
  },
  "device.rename": {
    changes: true,
    summary: "Gives a device that is not mounted another name.",
    params: v.object({ name: deviceName, to: deviceName }),
    result: device,
  },
  "device.update": {
    changes: true,
    summary: "Changes labels (null takes one away), and whether a device is read-only.",
    params: v.object({
      name: deviceName,
      labels: v.optional(labelsTo(v.nullable(label))),
      readOnly: v.optional(v.boolean()),
    }),
    result: device,
  },
  "device.resize": {
    changes: true,
    summary: "Grows a device and its filesystem, mounted or not.",
    params: v.object({ name: deviceName, sizeBytes: u64 }),
    result: v.object({
      device,
      /** "none": there was none to grow, or it was done. "later": xfs grows mounted only; ask again then. */
      filesystem: v.picklist(["grown", "none", "later"]),
    }),
  },
  "device.revert": {
    changes: true,
    summary: "Gives a device that is not mounted the content of a snapshot of it, which stays.",
    params: v.object({ name: deviceName, snapshot: deviceName }),
    result: device,
  },
  "device.changedBlocks": {
    changes: false,
    summary: "A page of the byte ranges in which a device differs from another, in their order.",
    params: v.object({
      /** The newer one. */
      name: deviceName,
      /** The older one. */
      from: deviceName,
      /** Where the page begins: 0 at first, then the last page's `nextOffsetBytes`. */
      offsetBytes: v.optional(u64),
      limit: v.optional(v.pipe(count, v.minValue(1), v.maxValue(MAX_CHANGED_RANGES))),
    }),
    result: v.object({
      /** What is in none of them is the same in both. */
      ranges: v.array(changedRange),
      /** Absent with the last page. */
      nextOffsetBytes: v.optional(u64),
    }),
  },
  "device.trim": {
    changes: true,
    summary: "Gives back to the pool what the filesystem of a mounted device does not use.",
    params: v.object({ name: deviceName }),
    /** What the filesystem says it discarded, which can be more than what the pool gets back. */
    result: v.object({ trimmedBytes: u64 }),
  },
} as const satisfies Methods;
