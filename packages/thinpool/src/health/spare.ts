/** The place where new metadata is built: as large as the present one, and never the present one. */
import { type DevNumber, sameDevNumber } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import { isNative } from "../errors-from-native.ts";
import { createFile, removeFile } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { checkStoragePath } from "../options.ts";
import type { PoolRecord } from "../store/ledger.ts";
import { withUndo } from "../undo.ts";
import { withDevice } from "./closed-pool.ts";
import { eraseMetadataHead } from "./metadata-head.ts";
import { toolCall } from "./tool-calls.ts";

export interface Spare {
  readonly path: string;
  readonly isFile: boolean;
}

/**
 * For a pool on files a new file beside its metadata (one that an interrupted run left is removed), whose
 * name whoever puts it in place syncs; for one on block devices the device that the caller names: empty, unused, at least as large.
 */
export async function prepareSpare(
  kernel: Kernel,
  record: PoolRecord,
  device: string | undefined,
): Promise<Spare> {
  if (record.backing === "files") {
    if (device !== undefined) throw invalid(device, "a pool on files makes its spare itself");
    const path = `${record.metadataPath}.spare`;
    await removeFile(path);
    await withUndo((undo) => createFile(path, record.metadataBytes, undo));
    return { path, isFile: true };
  }
  if (device === undefined) {
    throw invalid(record.metadataPath, "a pool on block devices needs a spare device");
  }
  checkStoragePath(device);
  // Before what it carries: the start of the data may be anything, and of damaged metadata nothing that is known.
  const number = await kernel.blocks.number(device);
  for (const path of [record.dataPath, record.metadataPath]) {
    const own = await numberOf(kernel, path);
    if (own !== undefined && sameDevNumber(own, number)) {
      throw invalid(device, `it is ${path}, and the pool stands on it`);
    }
  }
  const signature = await kernel.blocks.signature(device);
  if (signature !== undefined) throw invalid(device, `the spare carries ${signature.type}`, LEFT);
  if (await kernel.blocks.inUse(device)) throw invalid(device, "the spare is in use");
  const sizeBytes = await kernel.blocks.sizeBytes(device);
  if (sizeBytes < record.metadataBytes) {
    throw invalid(device, `the spare has ${sizeBytes} bytes, the metadata ${record.metadataBytes}`);
  }
  return { path: device, isFile: false };
}

/** Undefined where it is gone. */
async function numberOf(kernel: Kernel, path: string): Promise<DevNumber | undefined> {
  try {
    return await kernel.blocks.number(path);
  } catch (error) {
    if (isNative(error, "NATIVE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/**
 * Has `build` write new metadata onto the spare, and believes it only after thin_check does. Durable. Where it
 * fails the spare is given up.
 */
export function buildOnSpare<T>(
  kernel: Kernel,
  spare: Spare,
  build: (path: string) => Promise<T>,
): Promise<T> {
  return orGiveUp(kernel, spare, () => buildAndCheck(kernel, spare, build));
}

/** Where `use` fails a spare device is as empty as it was, to be named again; a file the next one removes. */
export async function orGiveUp<T>(kernel: Kernel, spare: Spare, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    // The first failure is the answer; a device that can't be erased is refused when it is named again.
    if (!spare.isFile) await eraseMetadataHead(kernel, spare.path).catch(() => undefined);
    throw error;
  }
}

async function buildAndCheck<T>(
  kernel: Kernel,
  spare: Spare,
  build: (path: string) => Promise<T>,
): Promise<T> {
  return withDevice(kernel, spare.path, { isFile: spare.isFile, readOnly: false }, async (path) => {
    const result = await build(path);
    const check = await toolCall(() => kernel.metadataTools.check({ path }));
    if (check.outcome === "clean") {
      // The tools leave it in the device's cache, and of a loop also the file's place on its disk.
      await kernel.blocks.flush(path);
      return result;
    }
    throw new PoolError({
      code: "POOL_NEEDS_REPAIR",
      operation: "check of the new metadata",
      object: spare.path,
      reason: `what was built does not pass thin_check: ${check.report.replaceAll("\n", "; ")}`,
      hint: "The pool is as it was. Put a backup of the metadata back.",
    });
  });
}

/** A death on the way leaves new metadata there, which only its admin can tell from another pool's. */
const LEFT = " If a repair or restore that was cut short has left that, erase it with wipefs -a.";

function invalid(object: string, reason: string, more = ""): PoolError {
  return new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "check of the spare",
    object,
    reason,
    hint: `Name an empty block device that is at least as large as the pool's metadata.${more}`,
  });
}
