/** pool.*: the pool as a whole. */
import type { MethodResult } from "@thinpool/protocol";
import type { PoolStatus } from "@thinpool/thinpool";
import type { HandlerParts, Topic } from "./handler.ts";

export function poolHandlers({ pool }: HandlerParts): Topic<"pool"> {
  return {
    "pool.status": async () => statusToWire(await pool.status()),
  };
}

function statusToWire(status: PoolStatus): MethodResult<"pool.status"> {
  return {
    uuid: status.uuid,
    state: status.state,
    transactionId: status.transactionId.toString(),
    blockSizeBytes: status.blockSizeBytes.toString(),
    dataUsedBytes: status.dataUsedBytes.toString(),
    dataTotalBytes: status.dataTotalBytes.toString(),
    metadataUsedBytes: status.metadataUsedBytes.toString(),
    metadataTotalBytes: status.metadataTotalBytes.toString(),
    lowWaterBytes: status.lowWaterBytes.toString(),
    deviceCount: status.deviceCount,
    activeCount: status.activeCount,
    backing: status.backing,
  };
}
