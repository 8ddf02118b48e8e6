/**
 * events.*: what happens in the pool. A reader asks for what comes after the last number that it knows,
 * and the daemon answers when there is something. So the events wait in the daemon's log and nowhere
 * else: a slow reader costs nobody memory, a cut loses nothing, and what was asked for twice is the same.
 */
import * as v from "valibot";
import { device } from "./device.ts";
import type { Methods } from "./method.ts";
import { poolStatus } from "./pool.ts";
import { count, deviceName, timeMs, u64, uid, uuid } from "./scalars.ts";

/** Events of one answer, of some 200 bytes each. */
export const MAX_EVENTS_PER_ANSWER = 256;
/** The longest that an answer waits for an event. */
export const MAX_EVENT_WAIT_MS = 60_000;
export const DEFAULT_EVENT_WAIT_MS = 30_000;

const space = v.picklist(["data", "metadata"]);
const spaceLevel = v.picklist(["ample", "low", "below-floor", "full"]);
const poolState = poolStatus.entries.state;

const base = { number: v.pipe(count, v.minValue(1)), atMs: timeMs };
const ofDevice = { ...base, name: deviceName, deviceUuid: uuid };

/** Those that this version knows, by type. */
const known = v.variant("type", [
  v.object({
    ...ofDevice,
    type: v.literal("device-created"),
    originUuid: v.optional(uuid),
    sizeBytes: u64,
    ownerUid: uid,
  }),
  v.object({ ...ofDevice, type: v.literal("device-removed") }),
  v.object({
    ...ofDevice,
    type: v.literal("device-renamed"),
    /** Absent where the caller may not know it. */
    from: v.optional(deviceName),
  }),
  v.object({
    ...ofDevice,
    type: v.literal("device-resized"),
    sizeBytes: u64,
    fromBytes: u64,
  }),
  v.object({ ...ofDevice, type: v.literal("device-activated") }),
  v.object({ ...ofDevice, type: v.literal("device-deactivated") }),
  v.object({ ...base, type: v.literal("pool-created") }),
  /** The daemon was started. Only in the log: `events.next` has the state in its place. */
  v.object({ ...base, type: v.literal("pool-opened") }),
  v.object({ ...base, type: v.literal("pool-state"), from: poolState, to: poolState }),
  v.object({
    ...base,
    type: v.literal("space"),
    space,
    from: spaceLevel,
    to: spaceLevel,
    usedBytes: u64,
    totalBytes: u64,
  }),
  v.object({
    ...base,
    type: v.literal("grown"),
    dataBytes: u64,
    metadataBytes: u64,
    by: v.picklist(["policy", "caller", "recovery"]),
  }),
  /** It is low and can't grow. */
  v.object({ ...base, type: v.literal("exhausted"), space }),
  /** Until nothing more can be had, growth included. */
  v.object({
    ...base,
    type: v.literal("forecast"),
    space,
    secondsToExhausted: v.pipe(v.number(), v.minValue(0)),
  }),
  // The rest is for administrators: the reasons name the host's files.
  v.object({ ...base, type: v.literal("growth-failed"), reason: v.string() }),
  v.object({
    ...base,
    type: v.literal("no-space-answer"),
    answer: v.picklist(["queue_if_no_space", "error_if_no_space"]),
  }),
  v.object({ ...base, type: v.literal("policy-changed") }),
  /** A removed device's blocks are free in the pool, but stay allocated in the host's file. */
  v.object({
    ...base,
    type: v.literal("not-given-back"),
    name: deviceName,
    reason: v.string(),
  }),
  /** The kernel could not delete a removed device's blocks: the daemon's next start does. */
  v.object({
    ...base,
    type: v.literal("removal-unfinished"),
    name: deviceName,
    reason: v.string(),
  }),
]);

export type KnownEvent = v.InferOutput<typeof known>;

const BYTES = [
  "sizeBytes",
  "fromBytes",
  "usedBytes",
  "totalBytes",
  "dataBytes",
  "metadataBytes",
] as const;
const isBytes = (key: string): boolean => BYTES.some((name) => name === key);

type WithBigInts<E> = E extends unknown
  ? { readonly [K in keyof E]: K extends (typeof BYTES)[number] ? bigint : E[K] }
  : never;

/** An event as a program has it: its sizes as bigint. */
export type EventInHand = WithBigInts<KnownEvent>;

export function eventFromWire(event: KnownEvent): EventInHand {
  const fields = Object.entries(event).map(([key, value]) => [
    key,
    isBytes(key) && typeof value === "string" ? BigInt(value) : value,
  ]);
  // The keys are the same, and those of BYTES are what the type says.
  return Object.fromEntries(fields) as EventInHand;
}

const knownTypes: ReadonlySet<string> = new Set(
  known.options.map(({ entries }) => entries.type.literal),
);

export function isKnownEvent(event: { readonly type: string }): event is KnownEvent {
  return knownTypes.has(event.type);
}

/** Of a newer daemon: to be passed over. */
const unknownEvent = v.object({
  ...base,
  type: v.pipe(
    v.string(),
    v.check((type) => !knownTypes.has(type), "it does not fit its type"),
  ),
});

export const poolEvent = v.union([known, unknownEvent]);

/** All that the events tell of, as it is: nothing before `last` is needed besides. */
export const eventState = v.object({
  /**
   * "start": the caller named no number. "behind": events after that number are no longer kept, or went
   * with the restore of a backup, or the pool has not come to it. "restart": the daemon was started anew,
   * maybe after a crash.
   */
  because: v.picklist(["start", "behind", "restart"]),
  pool: poolStatus,
  /** As `device.list` has them. */
  devices: v.array(device),
});

export const eventMethods = {
  "events.next": {
    changes: false,
    summary: "What has happened since an event, once there is something; or the state as it is.",
    params: v.object({
      /** The last answer's `last`; absent at first. */
      after: v.optional(count),
      /** How long the answer may wait for an event. Default: 30 000. */
      waitMs: v.optional(v.pipe(count, v.maxValue(MAX_EVENT_WAIT_MS))),
    }),
    result: v.object({
      /** In their order; all that the caller may see of those after `after` up to `last`. */
      events: v.array(poolEvent),
      last: count,
      /** In place of events: forget what you knew. */
      state: v.optional(eventState),
    }),
  },
  "events.list": {
    changes: false,
    summary:
      "What the log still has of what happened after an event, at once and without the state.",
    params: v.object({
      /** Absent: all that is kept. */
      after: v.optional(count),
    }),
    result: v.object({
      /** In their order; all that the caller may see of those after `after` up to `last`. */
      events: v.array(poolEvent),
      /** With it as `after` the next page follows, while it is below `newest`. */
      last: count,
      /** What was before this number is no longer kept. */
      oldest: count,
      /** The last that has happened. */
      newest: count,
    }),
  },
} as const satisfies Methods;
