/**
 * What is looked at before a pool goes live. After an unclean stop thin_check must call the metadata
 * whole; and its first block must be a thin pool's, since of a blank one the kernel makes a new, empty
 * pool without a word (INV-20).
 */
import type { Backing } from "../backing.ts";
import { PoolError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { Ledger, PoolRecord } from "../store/ledger.ts";
import { toolCall } from "./tool-calls.ts";

export const METADATA_SIGNATURE = "thin-pool metadata";
/** How much of thin_check's words an error carries; `check` gives all. */
const MAX_REASON_LENGTH = 300;

/**
 * POOL_NEEDS_REPAIR, POOL_MISMATCH; POOL_TOOL_MISSING unless `allowMissingTool`. On return the clean
 * mark is gone, durably.
 */
export async function checkBeforeActivation(options: {
  readonly kernel: Kernel;
  readonly ledger: Ledger;
  readonly record: PoolRecord;
  readonly backing: Backing;
  readonly allowMissingTool: boolean;
}): Promise<void> {
  const { kernel, ledger, record, backing, allowMissingTool } = options;
  const { path } = backing.metadata;
  const signature = await kernel.blocks.signature(path);
  const known = signature?.type === METADATA_SIGNATURE;
  if (!ledger.health.cleanStop || !known) {
    await assertWhole(kernel, path, allowMissingTool);
  }
  if (!known) {
    throw new PoolError({
      code: "POOL_MISMATCH",
      operation: "check before activation",
      object: record.metadataPath,
      reason: `it carries ${signature?.type ?? "nothing"}, no pool's metadata`,
      hint: "Put the pool's own metadata back: the kernel would make a new pool of this.",
    });
  }
  if (ledger.health.cleanStop) ledger.health.setCleanStop(false);
}

async function assertWhole(kernel: Kernel, path: string, allowMissing: boolean): Promise<void> {
  let check;
  try {
    check = await toolCall(() => kernel.metadataTools.check({ path }));
  } catch (error) {
    const missing = error instanceof PoolError && error.code === "POOL_TOOL_MISSING";
    if (missing && allowMissing) return;
    if (!missing) throw error;
    throw new PoolError({
      code: "POOL_TOOL_MISSING",
      operation: "check before activation",
      object: path,
      reason: `the pool was not closed in order, and ${error.reason}: its health is not known`,
      hint: error.hint,
      cause: error,
    });
  }
  if (check.outcome === "clean") return;
  throw new PoolError({
    code: "POOL_NEEDS_REPAIR",
    operation: "check before activation",
    object: path,
    reason: `thin_check: ${oneLine(check.report)}`,
    hint: "Repair the pool, or put a backup of its metadata back.",
  });
}

export function oneLine(report: string): string {
  const line = report
    .split("\n")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .join("; ");
  return line.length > MAX_REASON_LENGTH ? `${line.slice(0, MAX_REASON_LENGTH)} ...` : line;
}
