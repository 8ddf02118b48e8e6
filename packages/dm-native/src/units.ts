/**
 * Units as types: a number of sectors can't be handed over where data blocks are meant.
 * All 64-bit quantities are bigint; they become decimal strings only on the wire.
 */

declare const unit: unique symbol;

/** 512-byte sectors, the unit of every device-mapper table (Linux: `SECTOR_SIZE`). */
export type Sectors = bigint & { readonly [unit]: "sectors" };
/** Blocks of a thin pool's data device; their size is the pool's own. */
export type DataBlocks = bigint & { readonly [unit]: "data-blocks" };
/** 4 KiB blocks of a thin pool's metadata device. */
export type MetadataBlocks = bigint & { readonly [unit]: "metadata-blocks" };
/** A thin pool's transaction id, 64 bits. */
export type TransactionId = bigint & { readonly [unit]: "transaction-id" };
/** The id of a thin device inside its pool: 24 bits (dm-thin.c: `MAX_DEV_ID`). */
export type ThinId = number & { readonly [unit]: "thin-id" };

export const SECTOR_SIZE_BYTES = 512n;
export const METADATA_BLOCK_SIZE_BYTES = 4096n;
export const MAX_THIN_ID: number = (1 << 24) - 1;
const MAX_U64 = (1n << 64n) - 1n;

function unsigned64(what: string, value: bigint | number): bigint {
  const big = BigInt(value);
  if (big < 0n || big > MAX_U64) {
    throw new RangeError(`${what} must lie between 0 and 2^64-1, not ${big}`);
  }
  return big;
}

export function sectors(value: bigint | number): Sectors {
  return unsigned64("sectors", value) as Sectors;
}

export function dataBlocks(value: bigint | number): DataBlocks {
  return unsigned64("data blocks", value) as DataBlocks;
}

export function metadataBlocks(value: bigint | number): MetadataBlocks {
  return unsigned64("metadata blocks", value) as MetadataBlocks;
}

export function transactionId(value: bigint | number): TransactionId {
  return unsigned64("transaction id", value) as TransactionId;
}

export function thinId(value: number): ThinId {
  if (!Number.isInteger(value) || value < 0 || value > MAX_THIN_ID) {
    throw new RangeError(`thin id must be an integer from 0 to ${MAX_THIN_ID}, not ${value}`);
  }
  return value as ThinId;
}

/** Bytes to sectors; throws where the bytes are no whole number of sectors. */
export function bytesToSectors(sizeBytes: bigint): Sectors {
  if (sizeBytes % SECTOR_SIZE_BYTES !== 0n) {
    throw new RangeError(`${sizeBytes} bytes are no multiple of ${SECTOR_SIZE_BYTES}`);
  }
  return sectors(sizeBytes / SECTOR_SIZE_BYTES);
}

export function sectorsToBytes(count: Sectors): bigint {
  return count * SECTOR_SIZE_BYTES;
}
