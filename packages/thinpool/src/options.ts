/** Checks of what callers ask for. Every number has a lower and an upper bound. */
import { isAbsolute } from "node:path";
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import { PoolError, type PoolErrorCode } from "./errors.ts";
import type { FilesystemType } from "./kernel.ts";

/** dm-thin.c: DATA_DEV_BLOCK_SIZE_MIN_SECTORS (64 KiB) and _MAX_SECTORS (1 GiB). */
export const MIN_BLOCK_SECTORS = 128n;
export const MAX_BLOCK_SECTORS = 2097152n;
/** thin-provisioning.rst: the smallest metadata device. */
export const MIN_METADATA_BYTES: bigint = 2n << 20n;
/** dm-thin-metadata.h: THIN_METADATA_MAX_SECTORS, 255 * (1 << 14) * 8 sectors; more is unused. */
export const MAX_METADATA_BYTES: bigint = 255n * (1n << 14n) * 8n * SECTOR_SIZE_BYTES;
/** Fewer are no pool: an empty ext4 of the smallest size already takes that many. */
export const MIN_DATA_BLOCKS = 16n;
/** ftruncate goes by a double: 2^53 bytes would be its end; 4 PiB is far from it. */
export const MAX_DATA_BYTES: bigint = 1n << 52n;
/** Below this mke2fs makes nothing of use. */
export const MIN_DEVICE_BYTES: bigint = 1n << 20n;
export const MAX_DEVICE_BYTES: bigint = 1n << 52n;
/** A page: filesystems and loop devices go by it. */
export const DEVICE_GRANULARITY_BYTES = 4096n;
/** (uid_t)-1 means "no user" to the kernel. */
export const MAX_UID = 0xffff_fffe;

function refuse(
  object: string,
  reason: string,
  hint: string,
  code: PoolErrorCode = "POOL_OPTION_INVALID",
): never {
  throw new PoolError({ code, operation: "check of options", object, reason, hint });
}

export function checkPoolNumbers(blockSectors: bigint, lowWaterBlocks: bigint): void {
  if (
    blockSectors < MIN_BLOCK_SECTORS ||
    blockSectors > MAX_BLOCK_SECTORS ||
    blockSectors % MIN_BLOCK_SECTORS !== 0n
  ) {
    refuse(
      `a block size of ${blockSectors * SECTOR_SIZE_BYTES} bytes (${blockSectors} sectors)`,
      "it is no valid block size",
      `Use a multiple of ${MIN_BLOCK_SECTORS} sectors (${MIN_BLOCK_SECTORS * SECTOR_SIZE_BYTES} bytes), up to ${MAX_BLOCK_SECTORS}.`,
    );
  }
  if (lowWaterBlocks < 0n || lowWaterBlocks > MAX_DATA_BYTES) {
    refuse(`lowWaterBlocks ${lowWaterBlocks}`, "it is out of range", `Use 0 to ${MAX_DATA_BYTES}.`);
  }
}

export function checkDiscard(discard: string): void {
  if (["passdown", "no_passdown", "ignore"].includes(discard)) return;
  refuse(
    `discard ${JSON.stringify(discard)}`,
    "it is not known",
    "Use passdown, no_passdown or ignore.",
  );
}

export function checkPoolSizes(
  dataBytes: bigint,
  metadataBytes: bigint,
  blockSectors: bigint,
): void {
  const minimumBytes = MIN_DATA_BLOCKS * blockSectors * SECTOR_SIZE_BYTES;
  if (dataBytes < minimumBytes) {
    refuse(
      `data of ${dataBytes} bytes`,
      `a pool of this block size needs at least ${minimumBytes} bytes`,
      "Give the pool more data, or choose smaller blocks.",
      "POOL_TOO_SMALL",
    );
  }
  if (metadataBytes < MIN_METADATA_BYTES) {
    refuse(
      `metadata of ${metadataBytes} bytes`,
      `a pool needs at least ${MIN_METADATA_BYTES} bytes of metadata`,
      "Give it more: 48 bytes for each data block are enough.",
      "POOL_TOO_SMALL",
    );
  }
  if (dataBytes > MAX_DATA_BYTES) {
    refuse(`data of ${dataBytes} bytes`, "it is too large", `Use at most ${MAX_DATA_BYTES}.`);
  }
}

export function checkFileSizes(dataBytes: bigint, metadataBytes: bigint): void {
  if (metadataBytes > MAX_METADATA_BYTES) {
    refuse(
      `metadata of ${metadataBytes} bytes`,
      "the kernel uses no more than about 15.8 GiB of metadata",
      `Use at most ${MAX_METADATA_BYTES} bytes.`,
    );
  }
  for (const [what, size] of [
    ["data", dataBytes],
    ["metadata", metadataBytes],
  ] as const) {
    if (size % DEVICE_GRANULARITY_BYTES !== 0n) {
      refuse(
        `${what} of ${size} bytes`,
        "it is no whole number of pages",
        "Use multiples of 4096.",
      );
    }
  }
}

export function checkDeviceOptions(
  sizeBytes: bigint,
  filesystem: FilesystemType | "none",
  ownerUid: number,
): void {
  if (
    sizeBytes < MIN_DEVICE_BYTES ||
    sizeBytes > MAX_DEVICE_BYTES ||
    sizeBytes % DEVICE_GRANULARITY_BYTES !== 0n
  ) {
    refuse(
      `a device of ${sizeBytes} bytes`,
      "it is no valid size",
      `Use a multiple of ${DEVICE_GRANULARITY_BYTES} bytes from ${MIN_DEVICE_BYTES} to ${MAX_DEVICE_BYTES}.`,
    );
  }
  if (!["ext4", "xfs", "none"].includes(filesystem)) {
    refuse(`filesystem ${JSON.stringify(filesystem)}`, "it is not known", "Use ext4, xfs or none.");
  }
  checkOwner(ownerUid);
}

/** It is recorded, and looked up from whatever folder a later process runs in. */
export function checkStoragePath(path: string): void {
  if (isAbsolute(path)) return;
  refuse(JSON.stringify(path), "it is no absolute path", "Give the path from the root on.");
}

export function checkOwner(ownerUid: number): void {
  if (!Number.isInteger(ownerUid) || ownerUid < 0 || ownerUid > MAX_UID) {
    refuse(`owner ${ownerUid}`, "it is no user id", `Use 0 to ${MAX_UID}.`);
  }
}
