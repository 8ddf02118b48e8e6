/** Whether a pool may take another device. */
import { PoolError } from "../errors.ts";
import { backedFreeBytes, freeBytes, type WorkingMeasure } from "./levels.ts";
import type { Measure } from "./measure.ts";
import type { SpacePolicy } from "./policy.ts";

/** Programs find it as `extend` and `setPolicy`; most who read this sit at a shell. */
const LARGER = "make the pool larger (thinpool pool extend)";

export interface CreationQuestion {
  readonly operation: string;
  readonly object: string;
  readonly measure: Measure;
  readonly policy: SpacePolicy;
  /** With the new device; not looked at where devices may promise any sum. */
  readonly promisedBytes: bigint;
}

/** The refusal, or undefined. A pool that takes no changes at all is left to the kernel's own. */
export function refuseCreation(question: CreationQuestion): PoolError | undefined {
  const { operation, object, measure, policy } = question;
  const refusal = (reason: string, hint: string): PoolError =>
    new PoolError({ code: "POOL_NO_SPACE", operation, object, reason, hint });
  if (measure.use === undefined) return undefined;
  const seen: WorkingMeasure = { ...measure, use: measure.use };
  if (seen.state === "out-of-data") {
    return refusal(
      `the pool is out of data: all ${seen.use.data.totalBytes} bytes are in use`,
      `Remove devices, or ${LARGER}.`,
    );
  }
  if (seen.state === "read-only" && freeBytes(seen.use.metadata) === 0n) {
    return refusal(
      `the pool is out of metadata: all ${seen.use.metadata.totalBytes} bytes are in use`,
      "Make the metadata larger (thinpool pool extend); then check every filesystem that was written meanwhile.",
    );
  }
  const data = backedFreeBytes(seen);
  if (data < policy.dataFloorBytes) {
    const host = data < freeBytes(seen.use.data) ? " on the host's filesystem" : "";
    return refusal(
      `${data} bytes of data are free${host}, fewer than the floor of ${policy.dataFloorBytes}`,
      `Remove devices, ${LARGER}, or lower the floor (thinpool pool set --data-floor).`,
    );
  }
  const metadata = freeBytes(seen.use.metadata);
  if (metadata < policy.metadataFloorBytes) {
    return refusal(
      `${metadata} bytes of metadata are free, fewer than the floor of ${policy.metadataFloorBytes}`,
      `Remove devices, ${LARGER}, or lower the floor (thinpool pool set --metadata-floor).`,
    );
  }
  return refusePromise({ ...question, totalBytes: seen.use.data.totalBytes });
}

export interface PromiseQuestion extends Pick<
  CreationQuestion,
  "operation" | "object" | "policy" | "promisedBytes"
> {
  /** The pool's data. */
  readonly totalBytes: bigint;
}

/** Of a larger device as well: whether the policy lets the devices promise so much. */
export function refusePromise(question: PromiseQuestion): PoolError | undefined {
  const { operation, object, policy, promisedBytes, totalBytes } = question;
  const allowed = allowedBytes(policy, totalBytes);
  if (allowed === undefined || promisedBytes <= allowed) return undefined;
  return new PoolError({
    code: "POOL_NO_SPACE",
    operation,
    object,
    reason: `the devices would promise ${promisedBytes} bytes, the policy allows ${allowed}`,
    hint: `Remove devices, ${LARGER}, or allow more (thinpool pool set --overprovision).`,
  });
}

function allowedBytes(policy: SpacePolicy, totalBytes: bigint): bigint | undefined {
  const { overProvisioning: over } = policy;
  if (over.mode === "allow") return undefined;
  if (over.mode === "forbid") return totalBytes;
  // A thousandth is fine enough for a ratio, and exact below 8 PiB.
  return (totalBytes * BigInt(Math.round(over.ratio * 1000))) / 1000n;
}
