/** What a pool does about its space: growth, floors, over-provisioning, and what a full pool answers. */
import { MAX_DATA_BYTES, MAX_METADATA_BYTES } from "../options.ts";
import { PoolError } from "../errors.ts";

/** How one of the two spaces grows by itself, once less than its low water is free. */
export interface GrowthPolicy {
  readonly enabled: boolean;
  /** By so much at a time; by less where the ceiling or the host leaves no more. */
  readonly stepBytes: bigint;
  /** It grows no further by itself; undefined: as far as the host (files) or the device goes. */
  readonly ceilingBytes: bigint | undefined;
}

export type OverProvisioning =
  /** Devices may promise more than the pool has. */
  | { readonly mode: "allow" }
  /** The sum of all devices' sizes stays below so many times the pool's data. */
  | { readonly mode: "ratio"; readonly ratio: number }
  /** What is promised is there. */
  | { readonly mode: "forbid" };

/**
 * What becomes of a write that finds no free block. The first two are the kernel's own: it waits for
 * space up to the kernel's no_space_timeout (60 s) and fails then, or fails at once. The third waits
 * while growth may still help and fails at once when nothing more can be had.
 */
export type OnNoSpace = "queue_if_no_space" | "error_if_no_space" | "error_when_exhausted";

export interface SpacePolicy {
  readonly dataGrowth: GrowthPolicy;
  readonly metadataGrowth: GrowthPolicy;
  /** Growth leaves so much of the host's filesystem alone. Files only. */
  readonly hostReserveBytes: bigint;
  /** Creating is refused while less data is free. */
  readonly dataFloorBytes: bigint;
  /** Creating is refused while less metadata is free. */
  readonly metadataFloorBytes: bigint;
  readonly overProvisioning: OverProvisioning;
  readonly onNoSpace: OnNoSpace;
  /**
   * A removed device's blocks are discarded before it is deleted, so that they go back to the host's
   * filesystem: the kernel's delete alone frees them in the pool only. Costs an activation and the
   * discard per removal.
   */
  readonly giveBackRemoved: boolean;
}

/** What is left out stays as it is. */
export interface SpacePolicyChange extends Partial<
  Omit<SpacePolicy, "dataGrowth" | "metadataGrowth">
> {
  readonly dataGrowth?: Partial<GrowthPolicy>;
  readonly metadataGrowth?: Partial<GrowthPolicy>;
}

/** What growth leaves to the other programs of the host. */
const DEFAULT_HOST_RESERVE_BYTES: bigint = 1n << 30n;
const MIN_DATA_STEP_BYTES: bigint = 64n << 20n;
const MIN_METADATA_STEP_BYTES: bigint = 4n << 20n;
/** Above it the number of devices, not their sizes, is the limit. */
export const MAX_OVER_PROVISIONING_RATIO = 100_000;

/**
 * Files grow by an eighth (metadata by a quarter) at a time, into the host's free space less 1 GiB.
 * Block devices don't: an admin makes them longer. The floors are 1 % of the data and 5 % of the
 * metadata: a pool out of data waits and comes back, one out of metadata takes not even a removal.
 */
export function defaultPolicy(pool: {
  readonly backing: "files" | "block";
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
}): SpacePolicy {
  const enabled = pool.backing === "files";
  return {
    dataGrowth: {
      enabled,
      stepBytes: atLeast(pool.dataBytes / 8n, MIN_DATA_STEP_BYTES),
      ceilingBytes: undefined,
    },
    metadataGrowth: {
      enabled,
      stepBytes: atLeast(pool.metadataBytes / 4n, MIN_METADATA_STEP_BYTES),
      ceilingBytes: undefined,
    },
    hostReserveBytes: DEFAULT_HOST_RESERVE_BYTES,
    dataFloorBytes: pool.dataBytes / 100n,
    metadataFloorBytes: pool.metadataBytes / 20n,
    overProvisioning: { mode: "allow" },
    onNoSpace: "queue_if_no_space",
    giveBackRemoved: pool.backing === "files",
  };
}

function atLeast(value: bigint, minimum: bigint): bigint {
  return value > minimum ? value : minimum;
}

/** The policy with the change in it. POOL_OPTION_INVALID where the outcome makes no sense. */
export function changedPolicy(policy: SpacePolicy, change: SpacePolicyChange): SpacePolicy {
  const next: SpacePolicy = {
    ...policy,
    ...change,
    dataGrowth: { ...policy.dataGrowth, ...change.dataGrowth },
    metadataGrowth: { ...policy.metadataGrowth, ...change.metadataGrowth },
  };
  checkPolicy(next);
  return next;
}

function checkPolicy(policy: SpacePolicy): void {
  checkGrowth("the data's", policy.dataGrowth, MAX_DATA_BYTES);
  checkGrowth("the metadata's", policy.metadataGrowth, MAX_METADATA_BYTES);
  checkBytes("the host's reserve of", policy.hostReserveBytes, 0n, MAX_DATA_BYTES);
  checkBytes("the data's floor of", policy.dataFloorBytes, 0n, MAX_DATA_BYTES);
  checkBytes("the metadata's floor of", policy.metadataFloorBytes, 0n, MAX_METADATA_BYTES);
  const { overProvisioning: over } = policy;
  if (over.mode === "ratio" && !(over.ratio >= 1 && over.ratio <= MAX_OVER_PROVISIONING_RATIO)) {
    throw invalid(
      `the over-provisioning ratio ${over.ratio} is out of range`,
      `Use 1 to ${MAX_OVER_PROVISIONING_RATIO}.`,
    );
  }
  checkWord("the over-provisioning", over.mode, ["allow", "ratio", "forbid"]);
  const answers = ["queue_if_no_space", "error_if_no_space", "error_when_exhausted"];
  checkWord("the answer to no space", policy.onNoSpace, answers);
}

function checkGrowth(whose: string, growth: GrowthPolicy, maximum: bigint): void {
  checkBytes(`${whose} growth step of`, growth.stepBytes, 1n << 20n, maximum);
  if (growth.ceilingBytes !== undefined) {
    checkBytes(`${whose} ceiling of`, growth.ceilingBytes, 1n, maximum);
  }
}

function checkBytes(what: string, value: bigint, minimum: bigint, maximum: bigint): void {
  if (value >= minimum && value <= maximum) return;
  const hint = `Use ${minimum} to ${maximum} bytes.`;
  throw invalid(`${what} ${value} bytes is out of range`, hint);
}

function checkWord(what: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  const hint = `Use ${allowed.join(", ")}.`;
  throw invalid(`${what} ${JSON.stringify(value)} is not known`, hint);
}

/** The reason has the value: it is all that a client is told of the error besides the hint. */
function invalid(reason: string, hint: string): PoolError {
  const [operation, object] = ["check", "the space policy"];
  return new PoolError({ code: "POOL_OPTION_INVALID", operation, object, reason, hint });
}
