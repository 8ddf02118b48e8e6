import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";

/** The defaults of Docker's DeviceSet. */
export const DEFAULT_DATA_BYTES: bigint = 100n << 30n;
export const DEFAULT_METADATA_BYTES: bigint = 2n << 30n;
export const DEFAULT_DEVICE_BYTES: bigint = 10n << 30n;
export const DEFAULT_BLOCK_SECTORS = 512n;
/** At most: 2 GiB of the default block size. */
export const DEFAULT_LOW_WATER_BLOCKS = 8192n;
/** And of a small pool no more than this part, else it would be low from the start. */
const LOW_WATER_PART = 8n;

export function defaultLowWaterBlocks(dataBytes: bigint, blockSectors: bigint): bigint {
  const part = dataBytes / (blockSectors * SECTOR_SIZE_BYTES) / LOW_WATER_PART;
  return part < DEFAULT_LOW_WATER_BLOCKS ? part : DEFAULT_LOW_WATER_BLOCKS;
}
