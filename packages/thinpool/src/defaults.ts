/** The defaults of Docker's DeviceSet. */
export const DEFAULT_DATA_BYTES: bigint = 100n << 30n;
export const DEFAULT_METADATA_BYTES: bigint = 2n << 30n;
export const DEFAULT_DEVICE_BYTES: bigint = 10n << 30n;
export const DEFAULT_BLOCK_SECTORS = 512n;
export const DEFAULT_LOW_WATER_BLOCKS = 8192n;
