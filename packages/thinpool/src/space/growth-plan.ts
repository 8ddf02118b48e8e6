/** Whether a space shall grow now, and how far: arithmetic only. */
import type { GrowthPolicy } from "./policy.ts";

export interface GrowthQuestion {
  readonly totalBytes: bigint;
  readonly usedBytes: bigint;
  /** It grows once no more than this is free. */
  readonly lowWaterBytes: bigint;
  readonly policy: GrowthPolicy;
  /** What the backing can be made: the host's free space less the reserve, or the device's size. */
  readonly reachableBytes: bigint;
  /** Why it can't be made larger than that. */
  readonly reachableReason: string;
  /** The size is a multiple of it. */
  readonly granularityBytes: bigint;
}

export type GrowthAnswer =
  | { readonly verdict: "enough" }
  | { readonly verdict: "grow"; readonly toBytes: bigint }
  /** Low, and nothing more can be had. */
  | { readonly verdict: "exhausted"; readonly reason: string };

export function planGrowth(question: GrowthQuestion): GrowthAnswer {
  const { totalBytes, usedBytes, lowWaterBytes, policy, granularityBytes } = question;
  if (totalBytes - usedBytes > lowWaterBytes) return { verdict: "enough" };
  if (!policy.enabled) return { verdict: "exhausted", reason: "the policy lets it not grow" };
  const limit = growthLimit(question);
  const wanted = totalBytes + policy.stepBytes;
  const toBytes = roundedDown(wanted < limit.bytes ? wanted : limit.bytes, granularityBytes);
  if (toBytes <= totalBytes) return { verdict: "exhausted", reason: limit.reason };
  return { verdict: "grow", toBytes };
}

/** How large it may become by itself, and what ends it there. */
export function growthLimit(
  question: Pick<
    GrowthQuestion,
    "totalBytes" | "policy" | "reachableBytes" | "reachableReason" | "granularityBytes"
  >,
): { readonly bytes: bigint; readonly reason: string } {
  const { totalBytes, policy, reachableBytes, reachableReason, granularityBytes } = question;
  const { ceilingBytes } = policy;
  if (!policy.enabled) return { bytes: totalBytes, reason: "the policy lets it not grow" };
  const byCeiling = ceilingBytes !== undefined && ceilingBytes < reachableBytes;
  const bytes = roundedDown(byCeiling ? ceilingBytes : reachableBytes, granularityBytes);
  return {
    bytes: bytes > totalBytes ? bytes : totalBytes,
    reason: byCeiling ? `the policy's ceiling is ${ceilingBytes} bytes` : reachableReason,
  };
}

function roundedDown(bytes: bigint, granularityBytes: bigint): bigint {
  return bytes - (bytes % granularityBytes);
}
