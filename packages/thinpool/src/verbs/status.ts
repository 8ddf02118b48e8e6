import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { PoolStatus, SpaceStatus } from "../device.ts";
import type { Engine } from "../engine.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import type { Measure } from "../space/measure.ts";
import { isWorking } from "../space/space.ts";

export async function status(engine: Engine): Promise<PoolStatus> {
  engine.assertNotClosed("status", engine.folder);
  const { ledger, poolRecord, states } = engine;
  try {
    const blockSizeBytes = poolRecord.blockSectors * SECTOR_SIZE_BYTES;
    const seen = await engine.space.measure();
    const { use } = seen;
    return {
      uuid: engine.uuid,
      folder: engine.folder,
      state: seen.state,
      degradedReason: engine.life.state === "degraded" ? engine.life.reason : undefined,
      transactionId: engine.transactionId,
      blockSizeBytes,
      dataUsedBytes: use?.data.usedBytes ?? 0n,
      dataTotalBytes: use?.data.totalBytes ?? poolRecord.dataBytes,
      metadataUsedBytes: use?.metadata.usedBytes ?? 0n,
      metadataTotalBytes: use?.metadata.totalBytes ?? poolRecord.metadataBytes,
      lowWaterBytes: poolRecord.lowWaterBlocks * blockSizeBytes,
      deviceCount: ledger.deviceCount(engine.transactionId),
      activeCount: states.activeCount,
      backing: poolRecord.backing === "files" ? "loop" : "block",
      discard: use?.discard,
      onNoSpace: use?.onNoSpace,
      space: await spaceStatus(engine, seen),
    };
  } catch (error) {
    throw poolErrorFrom(error, { operation: "status", object: engine.folder });
  }
}

async function spaceStatus(engine: Engine, seen: Measure): Promise<SpaceStatus> {
  const forecast = isWorking(seen) ? await engine.space.forecast(seen) : undefined;
  return {
    policy: engine.policy,
    monitored: engine.space.isMonitored,
    hostFreeBytes: seen.host?.freeBytes,
    data: forecast?.data,
    metadata: forecast?.metadata,
  };
}
