/** pool.*: the pool as a whole. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { count, deviceName, timeMs, u64, uuid } from "./scalars.ts";

const spaceGrowth = v.object({
  enabled: v.boolean(),
  /** By so much at a time; by less where no more is left. */
  stepBytes: u64,
  /** It grows no further by itself; absent: as far as what is under it goes. */
  ceilingBytes: v.optional(u64),
});

const overProvisioning = v.variant("mode", [
  /** Devices may promise more than the pool has. */
  v.object({ mode: v.literal("allow") }),
  /** The sum of all devices' sizes stays below so many times the pool's data. */
  v.object({ mode: v.literal("ratio"), ratio: v.number() }),
  /** What is promised is there. */
  v.object({ mode: v.literal("forbid") }),
]);

/** What becomes of a write that finds no free block; "error_when_exhausted" waits while growth may help. */
const onNoSpace = v.picklist(["queue_if_no_space", "error_if_no_space", "error_when_exhausted"]);

export const spacePolicy = v.object({
  dataGrowth: spaceGrowth,
  metadataGrowth: spaceGrowth,
  /** Growth leaves so much of the host's filesystem alone. */
  hostReserveBytes: u64,
  /** Nothing is created while less data is free. */
  dataFloorBytes: u64,
  metadataFloorBytes: u64,
  overProvisioning,
  onNoSpace,
  /** Whether a removed device's blocks go back to the host's filesystem. */
  giveBackRemoved: v.boolean(),
});

const growthChange = v.object({
  enabled: v.optional(v.boolean()),
  stepBytes: v.optional(u64),
  /** Null: no ceiling. */
  ceilingBytes: v.optional(v.nullable(u64)),
});

export const poolStatus = v.object({
  uuid,
  state: v.picklist(["working", "read-only", "out-of-data", "needs-check", "failed"]),
  transactionId: u64,
  blockSizeBytes: u64,
  dataUsedBytes: u64,
  dataTotalBytes: u64,
  metadataUsedBytes: u64,
  metadataTotalBytes: u64,
  lowWaterBytes: u64,
  deviceCount: count,
  activeCount: count,
  backing: v.picklist(["loop", "block"]),
  /** The policy by which it grows by itself; where `pool.forecast` says `monitored: false` it does not. */
  growth: v.object({ data: spaceGrowth, metadata: spaceGrowth }),
});

export const poolUsage = v.object({
  /** When it was measured; writes after that are not in it. */
  atMs: timeMs,
  devices: v.array(
    v.object({
      name: deviceName,
      uuid,
      mappedBytes: u64,
      /** Mapped by this device only: what removing it would free. */
      exclusiveBytes: u64,
      sharedBytes: u64,
    }),
  ),
});

const rate = v.pipe(v.number(), v.minValue(0));

const spaceForecast = v.object({
  /** Absent where its use is not growing, or too little is known. */
  growthBytesPerSecond: v.optional(rate),
  /** At its present size; 0 where it is full, else absent as above. */
  secondsToFull: v.optional(count),
  /** The same with all the growth that is allowed and possible. */
  secondsToExhausted: v.optional(count),
  /** How large it may become by itself. */
  growthLimitBytes: u64,
});

export const poolForecast = v.object({
  /** False where nothing watches the pool's space: then nothing is known, and nothing grows by itself. */
  monitored: v.boolean(),
  /** Absent where the pool does not work. */
  data: v.optional(spaceForecast),
  metadata: v.optional(spaceForecast),
});

/** Findings that one report of `pool.check` tells. */
export const MAX_FINDINGS = 1000;
/** Characters of what the tool printed that it tells. */
export const MAX_REPORT_LENGTH: number = 64 * 1024;
/** Backups that can be kept. */
export const MAX_BACKUPS = 1000;

export const checkReport = v.object({
  atMs: timeMs,
  /** "unknown": the tool that looks at it is not installed. */
  metadata: v.picklist(["clean", "damaged", "unknown"]),
  /** What thin_check printed, its beginning where that is long. */
  report: v.string(),
  /** Empty: all is well. */
  findings: v.array(
    v.object({
      /** A stable name, such as ORPHAN; a newer daemon may have others. */
      code: v.string(),
      object: v.string(),
      reason: v.string(),
      /** What to do. */
      action: v.string(),
    }),
  ),
  /** Further findings, which are not told. */
  findingsLeftOut: count,
});

/** One that is there; `thinpool pool restore` puts it back, by its name. */
const backup = v.object({ name: v.string(), atMs: timeMs, transactionId: u64, sizeBytes: u64 });

export const poolMethods = {
  "pool.status": {
    changes: false,
    summary: "How full the pool is, and whether it works.",
    params: v.object({}),
    result: poolStatus,
  },
  "pool.forecast": {
    changes: false,
    summary: "When the pool will be full, from how its use went in the last hour.",
    params: v.object({}),
    result: poolForecast,
  },
  "pool.usage": {
    changes: false,
    summary:
      "What each device that the caller may see takes of the pool; measured at most 30 s ago.",
    params: v.object({}),
    result: poolUsage,
  },
  "pool.check": {
    changes: false,
    summary:
      "Looks for damage, lost records and leftovers, while the pool works; administrators only.",
    params: v.object({
      /** Reads all mappings, to find devices with blocks past their size; slow for a large pool. */
      mappings: v.optional(v.boolean()),
    }),
    result: checkReport,
  },
  "pool.backup": {
    changes: true,
    summary: "Backs up the pool's maps (no data) into its folder; administrators only.",
    params: v.object({
      /** How many are kept, this one included; the oldest go. Default: 8. */
      keep: v.optional(v.pipe(count, v.minValue(1), v.maxValue(MAX_BACKUPS))),
    }),
    result: backup,
  },
  "pool.backups": {
    changes: false,
    summary: "The backups in the pool's folder, the newest first; administrators only.",
    params: v.object({}),
    result: v.array(backup),
  },
  "pool.extend": {
    changes: true,
    summary:
      "Makes the pool larger; without sizes, as large as its block devices. Administrators only.",
    params: v.object({ dataBytes: v.optional(u64), metadataBytes: v.optional(u64) }),
    result: v.object({
      outcome: v.picklist(["extended", "already-so"]),
      /** As they are now. */
      dataBytes: u64,
      metadataBytes: u64,
    }),
  },
  "pool.spacePolicy": {
    changes: false,
    summary: "What the pool does about its space; administrators only.",
    params: v.object({}),
    result: spacePolicy,
  },
  "pool.setSpacePolicy": {
    changes: true,
    summary: "Changes what the pool does about its space; administrators only.",
    /** What is left out stays as it is. */
    params: v.object({
      dataGrowth: v.optional(growthChange),
      metadataGrowth: v.optional(growthChange),
      hostReserveBytes: v.optional(u64),
      dataFloorBytes: v.optional(u64),
      metadataFloorBytes: v.optional(u64),
      overProvisioning: v.optional(overProvisioning),
      onNoSpace: v.optional(onNoSpace),
      giveBackRemoved: v.optional(v.boolean()),
    }),
    result: v.object({ outcome: v.picklist(["changed", "already-so"]), policy: spacePolicy }),
  },
} as const satisfies Methods;

/**
 * Administrators' calls that take as long as the pool is large: no common limit fits them. They end with
 * their work, or by their caller.
 */
const longMethods: ReadonlySet<string> = new Set<keyof typeof poolMethods>([
  "pool.check",
  "pool.backup",
]);

export function isLongMethod(name: string): boolean {
  return longMethods.has(name);
}
