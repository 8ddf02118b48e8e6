/** pool.*: the pool as a whole. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { count, deviceName, timeMs, u64, uuid } from "./scalars.ts";

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
  /** At its present size; absent as above. */
  secondsToFull: v.optional(count),
  /** With all the growth that is allowed and possible; absent as above. */
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
} as const satisfies Methods;
