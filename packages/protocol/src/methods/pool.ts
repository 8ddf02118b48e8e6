/** pool.*: the pool as a whole. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { count, u64, uuid } from "./scalars.ts";

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

export const poolMethods = {
  "pool.status": {
    changes: false,
    summary: "How full the pool is, and whether it works.",
    params: v.object({}),
    result: poolStatus,
  },
} as const satisfies Methods;
