/** Every failure of the engine is a PoolError; the kernel's own is its `cause`. Match on `code`. */

export type PoolErrorCode =
  /** Too many operations are waiting. */
  | "POOL_OVERLOADED"
  | "POOL_NAME_INVALID"
  | "POOL_OPTION_INVALID"
  /** Another process owns the folder; the reason names its pid. */
  | "POOL_LOCKED"
  | "POOL_NOT_FOUND"
  | "POOL_EXISTS"
  /** What was found is not what the record says (uuid, sizes, block size, transaction id). */
  | "POOL_MISMATCH"
  /** A given device carries a signature or is in use. */
  | "POOL_DEVICE_NOT_EMPTY"
  | "POOL_TOO_SMALL"
  | "POOL_NO_SPACE"
  /** thin_check found the metadata damaged, or nothing of it can be saved. */
  | "POOL_NEEDS_REPAIR"
  /** An operation on the metadata failed and the kernel set needs_check: reads work, changes do not. */
  | "POOL_NEEDS_CHECK"
  /** The kernel's pool takes no changes, mostly for want of metadata space; needs_check is not set. */
  | "POOL_READ_ONLY"
  /** The kernel's pool says Fail: nothing works any more. */
  | "POOL_FAILED"
  /** A program of thin-provisioning-tools is not installed: neither damage nor health. */
  | "POOL_TOOL_MISSING"
  /** Such a program ran and said nothing about the metadata. */
  | "POOL_TOOL_FAILED"
  /** The pool's one metadata snapshot is held by somebody else, or was held too long. */
  | "POOL_SNAPSHOT_BUSY"
  /** A roll-back failed; only closing is possible. */
  | "POOL_DEGRADED"
  | "POOL_CLOSED"
  /** Events that a reader asks for are no longer kept. */
  | "POOL_EVENTS_LOST"
  /** The caller's AbortSignal ended it; nothing has changed. */
  | "POOL_ABORTED"
  | "POOL_PERMISSION"
  | "POOL_UNSUPPORTED"
  | "POOL_KERNEL"
  | "DEVICE_NOT_FOUND"
  | "DEVICE_EXISTS"
  | "DEVICE_BUSY"
  | "DEVICE_INACTIVE";

export interface PoolErrorInit {
  readonly code: PoolErrorCode;
  readonly operation: string;
  readonly object: string;
  readonly reason: string;
  readonly hint: string;
  readonly errno?: number;
  readonly errnoName?: string;
  readonly cause?: unknown;
}

export class PoolError extends Error {
  override readonly name = "PoolError";
  readonly code: PoolErrorCode;
  readonly operation: string;
  readonly object: string;
  readonly reason: string;
  readonly hint: string;
  readonly errno: number;
  readonly errnoName: string | undefined;

  constructor(init: PoolErrorInit) {
    const errno = init.errnoName === undefined ? "" : ` (${init.errnoName})`;
    super(`${init.operation} of ${init.object}: ${init.reason}${errno}. ${init.hint}`, {
      cause: init.cause,
    });
    this.code = init.code;
    this.operation = init.operation;
    this.object = init.object;
    this.reason = init.reason;
    this.hint = init.hint;
    this.errno = init.errno ?? 0;
    this.errnoName = init.errnoName;
  }
}
