import { METADATA_BLOCK_SIZE_BYTES, SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { PoolStatus } from "../device.ts";
import type { Engine } from "../engine.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { poolStateOf } from "../tables.ts";

export async function status(engine: Engine): Promise<PoolStatus> {
  engine.assertNotClosed("status", engine.folder);
  const { ledger, poolRecord, states, pool } = engine;
  try {
    const blockSizeBytes = poolRecord.blockSectors * SECTOR_SIZE_BYTES;
    const kernel = await pool.status();
    const space = kernel.state === "working" ? kernel : undefined;
    return {
      uuid: engine.uuid,
      folder: engine.folder,
      state: poolStateOf(kernel),
      degradedReason: engine.life.state === "degraded" ? engine.life.reason : undefined,
      transactionId: engine.transactionId,
      blockSizeBytes,
      dataUsedBytes: (space?.usedData ?? 0n) * blockSizeBytes,
      dataTotalBytes: space === undefined ? poolRecord.dataBytes : space.totalData * blockSizeBytes,
      metadataUsedBytes: (space?.usedMetadata ?? 0n) * METADATA_BLOCK_SIZE_BYTES,
      metadataTotalBytes:
        space === undefined
          ? poolRecord.metadataBytes
          : space.totalMetadata * METADATA_BLOCK_SIZE_BYTES,
      lowWaterBytes: poolRecord.lowWaterBlocks * blockSizeBytes,
      deviceCount: ledger.deviceCount(engine.transactionId),
      activeCount: states.active().length,
      backing: poolRecord.backing === "files" ? "loop" : "block",
    };
  } catch (error) {
    throw poolErrorFrom(error, { operation: "status", object: engine.folder });
  }
}
