/** What all that are compared have in common: sizes, block size, backing. */
export const DATA_BYTES: bigint = 2n << 30n;
export const METADATA_BYTES: bigint = 16n << 20n;
/** 256 KiB. */
export const BLOCK_SECTORS = 512n;
/** Of the base, and so of every clone. */
export const DEVICE_BYTES: bigint = 256n << 20n;
