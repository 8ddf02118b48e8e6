/** What a measure means under a policy: levels of the two spaces, and how far each may grow. */
import { DEVICE_GRANULARITY_BYTES, MAX_DATA_BYTES, MAX_METADATA_BYTES } from "../options.ts";
import type { SpaceLevel } from "../events/event.ts";
import type { GrowthQuestion } from "./growth-plan.ts";
import type { GrowingSpace } from "./grow.ts";
import type { Measure, SpaceUse } from "./measure.ts";
import type { SpacePolicy } from "./policy.ts";

/** A measure of a pool that the kernel still answers for. */
export type WorkingMeasure = Measure & { readonly use: NonNullable<Measure["use"]> };

export interface Limits {
  readonly policy: SpacePolicy;
  /** The pool's data low water. */
  readonly lowWaterBytes: bigint;
  readonly blockBytes: bigint;
  /** Of a pool on block devices: how large they are now. */
  readonly devices: { readonly dataBytes: bigint; readonly metadataBytes: bigint } | undefined;
}

export function freeBytes(use: SpaceUse): bigint {
  return use.totalBytes > use.usedBytes ? use.totalBytes - use.usedBytes : 0n;
}

/** What of the free data is really there: sparse files share the host's space with others. */
export function backedFreeBytes(measure: WorkingMeasure): bigint {
  const free = freeBytes(measure.use.data);
  const host = measure.host?.freeBytes;
  return host !== undefined && host < free ? host : free;
}

export function levelOf(measure: WorkingMeasure, space: GrowingSpace, limits: Limits): SpaceLevel {
  const { policy } = limits;
  const free = space === "data" ? backedFreeBytes(measure) : freeBytes(measure.use.metadata);
  if (free === 0n || (space === "data" && measure.state === "out-of-data")) return "full";
  if (free < (space === "data" ? policy.dataFloorBytes : policy.metadataFloorBytes)) {
    return "below-floor";
  }
  return free <= lowWaterOf(measure, space, limits) ? "low" : "ample";
}

/** Growth begins at the low water, and at the floor where that is higher. */
function lowWaterOf(measure: WorkingMeasure, space: GrowingSpace, limits: Limits): bigint {
  const { policy } = limits;
  const [mark, floor] =
    space === "data"
      ? [limits.lowWaterBytes, policy.dataFloorBytes]
      : [measure.use.metadataLowWaterBytes, policy.metadataFloorBytes];
  return mark > floor ? mark : floor;
}

export function growthQuestion(
  measure: WorkingMeasure,
  space: GrowingSpace,
  limits: Limits,
): GrowthQuestion {
  const { policy, devices } = limits;
  const { totalBytes, usedBytes } = measure.use[space];
  const { bytes, reason } = reachable(measure, space, limits);
  const maximum = space === "data" ? MAX_DATA_BYTES : MAX_METADATA_BYTES;
  return {
    totalBytes,
    usedBytes,
    lowWaterBytes: lowWaterOf(measure, space, limits),
    policy: space === "data" ? policy.dataGrowth : policy.metadataGrowth,
    reachableBytes: bytes < maximum ? bytes : maximum,
    reachableReason: bytes < maximum ? reason : "the kernel uses no more",
    granularityBytes:
      space === "data" && devices === undefined ? limits.blockBytes : DEVICE_GRANULARITY_BYTES,
  };
}

function reachable(
  measure: WorkingMeasure,
  space: GrowingSpace,
  limits: Limits,
): { readonly bytes: bigint; readonly reason: string } {
  const { devices, policy } = limits;
  if (devices !== undefined) {
    const bytes = space === "data" ? devices.dataBytes : devices.metadataBytes;
    return { bytes, reason: `its device has ${bytes} bytes` };
  }
  const { host } = measure;
  if (host === undefined) return { bytes: 0n, reason: "nothing is known of the host's space" };
  const slack = host.freeBytes - host.unallocatedBytes - policy.hostReserveBytes;
  return {
    bytes: measure.use[space].totalBytes + (slack > 0n ? slack : 0n),
    reason:
      `the host's filesystem has ${host.freeBytes} bytes free, of which the pool's files may still ` +
      `take ${host.unallocatedBytes} and ${policy.hostReserveBytes} are reserved`,
  };
}
