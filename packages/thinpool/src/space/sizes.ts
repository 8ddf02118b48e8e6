/** How large the two devices of a pool are, and what a growth that did not end left of it. */
import { stat } from "node:fs/promises";
import { PoolError } from "../errors.ts";
import { isErrno, isNative } from "../errors-from-native.ts";
import type { Kernel } from "../kernel.ts";
import type { PoolRecord } from "../store/ledger.ts";

export interface PoolSizes {
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
}

export function targetOf(record: PoolRecord): PoolSizes {
  return { dataBytes: record.dataTargetBytes, metadataBytes: record.metadataTargetBytes };
}

export function isGrowing(record: PoolRecord): boolean {
  return (
    record.dataTargetBytes !== record.dataBytes ||
    record.metadataTargetBytes !== record.metadataBytes
  );
}

export type GrowthLeft =
  | { readonly kind: "none" }
  /** Both have their target size: the kernel's pool may have it, so opening goes on to it. */
  | { readonly kind: "forward" }
  /** One has not: the kernel's pool can't have the target either, so the growth never was. */
  | { readonly kind: "cancel" };

/**
 * What to do with a growth that the ledger knows and whose end it does not (INV-16): the kernel is
 * given the longer table only when all that shall grow is durable in its target size.
 */
export async function growthLeft(kernel: Kernel, record: PoolRecord): Promise<GrowthLeft> {
  if (!isGrowing(record)) return { kind: "none" };
  const size = record.backing === "files" ? fileSize : deviceSize;
  const data = await size(kernel, record.dataPath);
  const metadata = await size(kernel, record.metadataPath);
  const reached = data >= record.dataTargetBytes && metadata >= record.metadataTargetBytes;
  return { kind: reached ? "forward" : "cancel" };
}

async function fileSize(_kernel: Kernel, path: string): Promise<bigint> {
  try {
    return (await stat(path, { bigint: true })).size;
  } catch (error) {
    if (isErrno(error, "ENOENT")) throw missing(path);
    throw error;
  }
}

async function deviceSize(kernel: Kernel, path: string): Promise<bigint> {
  try {
    return await kernel.blocks.sizeBytes(path);
  } catch (error) {
    if (isNative(error, "NATIVE_NOT_FOUND")) throw missing(path);
    throw error;
  }
}

function missing(path: string): PoolError {
  return new PoolError({
    code: "POOL_MISMATCH",
    operation: "opening the pool's storage",
    object: path,
    reason: "it is missing",
    hint: "Put the pool's file or device back at this path.",
  });
}
