/** A pool's status as text. */
import type { Client, Forecast, PoolStatus, SpaceForecast, SpaceGrowth } from "@thinpool/sdk";
import { formatDuration } from "./duration.ts";
import { bar } from "./pool/bar.ts";
import { formatShare, formatSize } from "./size.ts";
import { renderFields } from "./table.ts";

const BAR_WIDTH = 40;

/** Further off, a forecast from the last hour says nothing but that. */
const FORESEEN_SECONDS = 365 * 86_400;

/** How the pool is, and how it will be. */
export interface PoolOutlook extends PoolStatus {
  readonly forecast: Forecast;
}

export async function outlookOf(client: Client): Promise<PoolOutlook> {
  const [status, forecast] = await Promise.all([client.status(), client.forecast()]);
  return { ...status, forecast };
}

export function renderPoolStatus(status: PoolOutlook, { bytes }: { bytes: boolean }): string {
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
    ["growth", growthText(status, size)],
    ["forecast", forecastText(status.forecast)],
    ["block size", size(status.blockSizeBytes)],
    ["devices", `${status.deviceCount}, ${status.activeCount} active`],
    ["transaction", String(status.transactionId)],
    ["backing", status.backing === "loop" ? "loop (for trying out only)" : status.backing],
  ]);
}

function growthText(
  { growth: { data, metadata }, forecast }: PoolOutlook,
  size: (value: bigint) => string,
): string {
  if (!data.enabled && !metadata.enabled) return "off";
  if (!forecast.monitored) return "none: nothing watches the pool's space";
  const text = (what: string, { enabled, stepBytes, ceilingBytes }: SpaceGrowth): string => {
    if (!enabled) return `${what} off`;
    const end = ceilingBytes === undefined ? ", no ceiling" : ` up to ${size(ceilingBytes)}`;
    return `${what} by ${size(stepBytes)}${end}`;
  };
  return `${text("data", data)}; ${text("metadata", metadata)}`;
}

function forecastText({ monitored, data, metadata }: Forecast): string {
  if (!monitored) return "unknown: nothing watches the pool's space";
  if (data === undefined || metadata === undefined) return "unknown: the pool does not work";
  const parts = [fullText("data", data), fullText("metadata", metadata)];
  return parts.filter((part) => part !== undefined).join("; ") || "nothing is foreseen";
}

/** "data full in 3h 20m, with its growth in 2d"; undefined where it does not fill. */
function fullText(what: string, forecast: SpaceForecast): string | undefined {
  const { secondsToFull: full, secondsToExhausted: exhausted } = forecast;
  if (full === undefined) return undefined;
  const tellsMore = exhausted !== undefined && exhausted > full && full <= FORESEEN_SECONDS;
  const grown = tellsMore ? `, with its growth ${timeAhead(exhausted)}` : "";
  return `${what} full ${timeAhead(full)}${grown}`;
}

function timeAhead(seconds: number): string {
  if (seconds > FORESEEN_SECONDS) return "in over a year";
  return seconds < 1 ? "now" : `in ${formatDuration(seconds * 1000)}`;
}
