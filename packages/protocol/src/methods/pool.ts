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

export const poolMethods = {
  "pool.status": {
    changes: false,
    summary: "How full the pool is, and whether it works.",
    params: v.object({}),
    result: poolStatus,
  },
  "pool.usage": {
    changes: false,
    summary:
      "What each device that the caller may see takes of the pool; measured at most 30 s ago.",
    params: v.object({}),
    result: poolUsage,
  },
} as const satisfies Methods;
