/** One look at the metadata by the tools, and at the ledger beside it; nothing is changed. */
import { PoolError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { MetadataSource } from "../tools/metadata-tools.ts";
import { oneLine } from "./before-activation.ts";
import { compare, type LedgerMoment } from "./compare.ts";
import type { Finding } from "./findings.ts";
import { toolCall } from "./tool-calls.ts";

export interface CheckOptions {
  /** Reads all mappings to find devices with blocks past their size; slow for a large pool. */
  readonly mappings?: boolean;
  readonly signal?: AbortSignal;
}

export interface CheckReport {
  readonly atMs: number;
  /** "unknown": no tool looked at it (none is installed, or the pool is live without an owner). */
  readonly metadata: "clean" | "damaged" | "unknown";
  /** What thin_check printed. */
  readonly report: string;
  /** Empty: all is well. */
  readonly findings: readonly Finding[];
}

/** thin_check, then each device against its record. */
export async function checkMetadata(
  kernel: Kernel,
  source: MetadataSource,
  moment: LedgerMoment,
  options: CheckOptions,
): Promise<Pick<CheckReport, "metadata" | "report" | "findings">> {
  const { metadataTools } = kernel;
  try {
    const check = await toolCall(() => metadataTools.check(source));
    const damaged = check.outcome === "damaged";
    const findings: Finding[] = damaged ? [damage(source.path, check.report)] : [];
    const mappings = options.mappings ?? false;
    try {
      const listing = await toolCall(() => metadataTools.read({ ...source, mappings }));
      findings.push(...compare(moment, listing));
    } catch (error) {
      // Damaged metadata may not be readable at all; that it is damaged has been said.
      if (!damaged || !(error instanceof PoolError) || error.code !== "POOL_TOOL_FAILED")
        throw error;
    }
    return { metadata: check.outcome, report: check.report, findings };
  } catch (error) {
    if (!(error instanceof PoolError) || error.code !== "POOL_TOOL_MISSING") throw error;
    const { object, reason, hint } = error;
    const missing: Finding = { code: "TOOL_MISSING", object, reason, action: hint };
    return { metadata: "unknown", report: "", findings: [missing] };
  }
}

function damage(object: string, report: string): Finding {
  return {
    code: "METADATA_DAMAGED",
    object,
    reason: `thin_check: ${oneLine(report)}`,
    action: "Close the pool and repair it, or restore a backup of its metadata.",
  };
}
