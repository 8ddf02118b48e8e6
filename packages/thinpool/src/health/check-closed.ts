/** `check` of a pool that is closed. */
import { isNative } from "../errors-from-native.ts";
import { exists } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import { checkMetadata, type CheckOptions, type CheckReport } from "./check-report.ts";
import { type ClosedPool, withClosedPool, withDevice } from "./closed-pool.ts";
import type { Finding } from "./findings.ts";
import { leftoversOfClosed } from "./leftovers.ts";

export interface CheckPoolOptions extends CheckOptions {
  readonly folder: string;
  readonly kernel: Kernel;
}

/**
 * Looks at a pool that no process has open: its metadata, its ledger, what it left in the kernel.
 * Changes nothing. POOL_NOT_FOUND, POOL_LOCKED (then ask its owner), POOL_MISMATCH.
 */
export function checkPool(options: CheckPoolOptions): Promise<CheckReport> {
  return withClosedPool({ ...options, operation: "check" }, async (pool) => {
    const atMs = Date.now();
    const { kernel, record, ledger } = pool;
    const findings: Finding[] = [...(await leftoversOfClosed(kernel, record))];
    const { swap } = ledger.health;
    if (swap !== undefined) {
      findings.push({
        code: "REPAIR_INTERRUPTED",
        object: record.metadataPath,
        reason: `a ${swap.kind} was interrupted before its metadata at ${swap.sparePath} was put in place`,
        action: "Open the pool, or repair it: both put it in place.",
      });
    }
    const missing = await missingStorage(pool);
    if (missing !== undefined) findings.push(missing);
    const inUse = findings.some(({ code }) => code === "DM_LEFTOVER");
    if (missing !== undefined || inUse) {
      return { atMs, metadata: "unknown", report: "", findings };
    }
    const isFile = record.backing === "files";
    const thinIds = ledger.doubtfulThinIds();
    const moment = { pool: record, devices: ledger.rows(), thinIds, open: false };
    const { signal } = options;
    const checked = await withDevice(
      kernel,
      record.metadataPath,
      { isFile, readOnly: true },
      (path) =>
        checkMetadata(kernel, signal === undefined ? { path } : { path, signal }, moment, options),
    );
    return { ...checked, atMs, findings: [...findings, ...checked.findings] };
  });
}

async function missingStorage({ kernel, record }: ClosedPool): Promise<Finding | undefined> {
  const isThere = async (path: string): Promise<boolean> => {
    if (record.backing === "files") return exists(path);
    try {
      await kernel.blocks.number(path);
      return true;
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return false;
      throw error;
    }
  };
  for (const path of [record.metadataPath, record.dataPath]) {
    if (await isThere(path)) continue;
    const action = "Put the pool's file or device back at this path.";
    return { code: "STORAGE_MISSING", object: path, reason: "it is missing", action };
  }
  return undefined;
}
