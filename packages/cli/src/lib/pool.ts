/** A pool's status as text. */
import type { PoolStatus } from "@thinpool/sdk";
import { bar } from "./pool/bar.ts";
import { formatShare, formatSize } from "./size.ts";
import { renderFields } from "./table.ts";

const BAR_WIDTH = 40;

export function renderPoolStatus(status: PoolStatus, { bytes }: { bytes: boolean }): string {
  const size = (value: bigint): string => (bytes ? String(value) : formatSize(value));
  const used = (part: bigint, whole: bigint): string =>
    `${size(part)} of ${size(whole)} (${formatShare(part, whole)})`;
  const dataBar = bar({
    used: status.dataUsedBytes,
    total: status.dataTotalBytes,
    width: BAR_WIDTH,
    lowWater: status.lowWaterBytes,
  });
  const metadataBar = bar({
    used: status.metadataUsedBytes,
    total: status.metadataTotalBytes,
    width: BAR_WIDTH,
  });
  return renderFields([
    ["uuid", status.uuid],
    ["state", status.state],
    ["data", dataBar],
    ["", used(status.dataUsedBytes, status.dataTotalBytes)],
    ["metadata", metadataBar],
    ["", used(status.metadataUsedBytes, status.metadataTotalBytes)],
    ["low water", size(status.lowWaterBytes)],
    ["block size", size(status.blockSizeBytes)],
    ["devices", `${status.deviceCount}, ${status.activeCount} active`],
    ["transaction", String(status.transactionId)],
    ["backing", status.backing === "loop" ? "loop (for trying out only)" : status.backing],
  ]);
}
