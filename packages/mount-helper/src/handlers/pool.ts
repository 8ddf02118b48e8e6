/** pool.*: the pool as a whole. */
import type { MethodResult } from "@thinpool/protocol";
import { MAX_FINDINGS, MAX_REPORT_LENGTH } from "@thinpool/protocol";
import type { Backup, PoolStatus, PoolUsage, SpaceForecast, SpaceStatus } from "@thinpool/thinpool";
import { listBackups } from "@thinpool/thinpool";
import { nextTurn, slicesOf } from "../turns.ts";
import type { HandlerParts, Topic } from "./handler.ts";
import { growthToWire, spacePolicyChangeOf, spacePolicyToWire } from "./space-policy.ts";

export function poolHandlers({ pool, access }: HandlerParts): Topic<"pool"> {
  return {
    "pool.status": async () => statusToWire(await pool.status()),

    "pool.forecast": async () => forecastToWire((await pool.status()).space),

    "pool.usage": async (_params, principal, { signal }) => {
      const { atMs, devices } = await pool.usage({ signal });
      const seen: ReturnType<typeof usageToWire>[] = [];
      for (const slice of slicesOf(devices)) {
        await nextTurn();
        for (const usage of slice) {
          // By the record of now: one that was removed since, or changed hands, is not the caller's to see.
          const [device] = pool.list({ uuid: usage.uuid });
          const isSeen = device?.name === usage.name && access.sees(principal, device);
          if (isSeen) seen.push(usageToWire(usage));
        }
      }
      return { atMs, devices: seen };
    },

    "pool.check": async ({ mappings }, _principal, { signal }) => {
      const found = await pool.check({ signal, ...(mappings === undefined ? {} : { mappings }) });
      const { atMs, metadata, report, findings } = found;
      return {
        atMs,
        metadata,
        report: report.slice(0, MAX_REPORT_LENGTH),
        findings: findings.slice(0, MAX_FINDINGS),
        findingsLeftOut: Math.max(0, findings.length - MAX_FINDINGS),
      };
    },

    "pool.backup": async ({ keep }, _principal, { signal }) => {
      return backupToWire(await pool.backup({ signal, ...(keep === undefined ? {} : { keep }) }));
    },

    "pool.backups": async () => {
      const { folder } = pool;
      return (await listBackups({ folder })).map(backupToWire);
    },

    "pool.extend": async (wanted) => {
      const { outcome, dataBytes, metadataBytes } = await pool.extend({
        ...(wanted.dataBytes === undefined ? {} : { dataBytes: BigInt(wanted.dataBytes) }),
        ...(wanted.metadataBytes === undefined
          ? {}
          : { metadataBytes: BigInt(wanted.metadataBytes) }),
      });
      return {
        outcome,
        dataBytes: dataBytes.toString(),
        metadataBytes: metadataBytes.toString(),
      };
    },

    "pool.spacePolicy": async () => spacePolicyToWire(pool.policy),

    "pool.setSpacePolicy": async (wanted) => {
      const { outcome, policy } = await pool.setPolicy(spacePolicyChangeOf(wanted));
      return { outcome, policy: spacePolicyToWire(policy) };
    },
  };
}

function backupToWire({
  name,
  atMs,
  transactionId,
  sizeBytes,
}: Backup): MethodResult<"pool.backup"> {
  return {
    name,
    atMs,
    transactionId: transactionId.toString(),
    sizeBytes: sizeBytes.toString(),
  };
}

function usageToWire(
  usage: PoolUsage["devices"][number],
): MethodResult<"pool.usage">["devices"][number] {
  const { name, uuid, mappedBytes, exclusiveBytes, sharedBytes } = usage;
  return {
    name,
    uuid,
    mappedBytes: mappedBytes.toString(),
    exclusiveBytes: exclusiveBytes.toString(),
    sharedBytes: sharedBytes.toString(),
  };
}

export function statusToWire(status: PoolStatus): MethodResult<"pool.status"> {
  const { dataGrowth, metadataGrowth } = status.space.policy;
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
    growth: { data: growthToWire(dataGrowth), metadata: growthToWire(metadataGrowth) },
  };
}

/** Without the reason for the growth's limit, which can name the host's files. */
function forecastToWire({ monitored, data, metadata }: SpaceStatus): MethodResult<"pool.forecast"> {
  return {
    monitored,
    ...(data === undefined ? {} : { data: spaceToWire(data) }),
    ...(metadata === undefined ? {} : { metadata: spaceToWire(metadata) }),
  };
}

function spaceToWire(forecast: SpaceForecast): NonNullable<MethodResult<"pool.forecast">["data"]> {
  const { growthBytesPerSecond, secondsToFull, secondsToExhausted, growthLimitBytes } = forecast;
  return {
    growthBytesPerSecond,
    secondsToFull,
    secondsToExhausted,
    growthLimitBytes: growthLimitBytes.toString(),
  };
}
