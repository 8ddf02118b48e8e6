/** Three ways in which the kernel's pool takes no changes, told apart; see its failure ladder. */
import type { ThinPoolStatus, ThinPoolWorkingStatus } from "@thinpool/dm-native";
import type { PoolState } from "../device.ts";
import { PoolError, type PoolErrorCode } from "../errors.ts";
import { poolStateOf } from "../tables.ts";

type SickState = Extract<PoolState, "failed" | "needs-check" | "read-only">;

const SICKNESSES: Readonly<
  Record<
    SickState,
    { readonly code: PoolErrorCode; readonly reason: string; readonly hint: string }
  >
> = {
  failed: {
    code: "POOL_FAILED",
    reason: "the kernel says that the pool failed",
    hint: "Look at the kernel's log (dmesg), close the pool, then repair it.",
  },
  "needs-check": {
    code: "POOL_NEEDS_CHECK",
    reason: "an operation on the metadata failed, and the kernel wants it checked (needs_check)",
    hint: "Look at the kernel's log (dmesg) for the disk's errors, close the pool, then repair it.",
  },
  "read-only": {
    code: "POOL_READ_ONLY",
    reason: "the pool is read-only, mostly for want of metadata space",
    hint: "Give the pool more metadata, then check every filesystem in it.",
  },
};

export function isSick(state: PoolState): state is SickState {
  return state in SICKNESSES;
}

export function sickPoolError(
  state: SickState,
  operation: string,
  object: string,
  cause?: unknown,
): PoolError {
  return new PoolError({ ...SICKNESSES[state], operation, object, cause });
}

/** A message was refused, as a pool that takes no changes refuses all: the error that says why. */
export function refusalOf(status: ThinPoolStatus, object: string, refusal: unknown): unknown {
  const state = poolStateOf(status);
  return isSick(state) ? sickPoolError(state, "change", object, refusal) : refusal;
}

/**
 * The status of a pool that is being opened. A sick one is refused, but for one that was live already
 * and still answers: it may be mounted and read, so it is taken over as it is.
 */
export function statusForOpening(
  status: ThinPoolStatus,
  options: { readonly adopted: boolean; readonly folder: string },
): ThinPoolWorkingStatus {
  const state = poolStateOf(status);
  if (status.state !== "working") throw sickPoolError("failed", "opening", options.folder);
  if (isSick(state) && !options.adopted) throw sickPoolError(state, "opening", options.folder);
  return status;
}
