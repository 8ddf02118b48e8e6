/** Every failure on its way to a client goes through here: a throw becomes one entry of the code table. */
import type { ErrorCode, ErrorDescription, ErrorObject } from "@thinpool/protocol";
import { errorObjectOf } from "@thinpool/protocol";
import type { NativeErrorCode, PoolErrorCode } from "@thinpool/thinpool";
import { NativeError, PoolError } from "@thinpool/thinpool";

/** A refusal of the daemon's own. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly description: ErrorDescription;

  constructor(description: ErrorDescription) {
    super(errorObjectOf(description).message);
    this.description = description;
  }

  get code(): ErrorCode {
    return this.description.code;
  }
}

/** The filesystem under a pool of files has no room: `reason` says for what. */
export function hostFull(
  about: Pick<ErrorDescription, "operation" | "object" | "reason">,
): RequestError {
  const hint = "Free some space on the filesystem that holds the pool's folder.";
  return new RequestError({ ...about, code: "NO_SPACE", hint });
}

/** A call that was withdrawn, before its turn or half way: nothing of it was done, and nothing will be. */
export class WithdrawnError extends RequestError {}

export const BY_POOL_CODE: Readonly<Record<PoolErrorCode, ErrorCode>> = {
  POOL_OVERLOADED: "LIMIT",
  POOL_NAME_INVALID: "NAME_INVALID",
  POOL_OPTION_INVALID: "INVALID_PARAMS",
  POOL_LOCKED: "UNAVAILABLE",
  POOL_NOT_FOUND: "UNAVAILABLE",
  POOL_EXISTS: "EXISTS",
  POOL_MISMATCH: "NEEDS_REPAIR",
  POOL_DEVICE_NOT_EMPTY: "INVALID_PARAMS",
  POOL_TOO_SMALL: "INVALID_PARAMS",
  POOL_NO_SPACE: "NO_SPACE",
  POOL_NEEDS_REPAIR: "NEEDS_REPAIR",
  POOL_NEEDS_CHECK: "NEEDS_REPAIR",
  POOL_READ_ONLY: "NO_SPACE",
  POOL_FAILED: "NEEDS_REPAIR",
  POOL_TOOL_MISSING: "UNSUPPORTED",
  POOL_TOOL_FAILED: "INTERNAL",
  POOL_SNAPSHOT_BUSY: "BUSY",
  POOL_DEGRADED: "POOL_DEGRADED",
  POOL_CLOSED: "UNAVAILABLE",
  POOL_EVENTS_LOST: "INVALID_PARAMS",
  POOL_ABORTED: "UNAVAILABLE",
  POOL_PERMISSION: "INTERNAL",
  POOL_UNSUPPORTED: "UNSUPPORTED",
  POOL_KERNEL: "INTERNAL",
  DEVICE_NOT_FOUND: "NOT_FOUND",
  DEVICE_EXISTS: "EXISTS",
  DEVICE_BUSY: "BUSY",
  DEVICE_INACTIVE: "INTERNAL",
};

export const BY_NATIVE_CODE: Readonly<Record<NativeErrorCode, ErrorCode>> = {
  NATIVE_PERMISSION: "INTERNAL",
  NATIVE_UNSUPPORTED: "UNSUPPORTED",
  NATIVE_BUSY: "BUSY",
  NATIVE_NOT_FOUND: "INTERNAL",
  NATIVE_EXISTS: "EXISTS",
  NATIVE_INVALID: "INTERNAL",
  NATIVE_NO_SPACE: "NO_SPACE",
  NATIVE_TIMEOUT: "TIMEOUT",
  NATIVE_REFUSED: "NEEDS_REPAIR",
  NATIVE_PARSE: "INTERNAL",
  NATIVE_IO: "INTERNAL",
};

/**
 * What to tell the client. INTERNAL says nothing about the inside (paths, stacks, other users' names):
 * the log has that under the request's id.
 */
export function describeError(
  error: unknown,
  call: { readonly operation: string; readonly object: string },
): ErrorDescription {
  if (error instanceof RequestError) return error.description;
  if (isFull(error)) {
    const reason =
      "the filesystem of the pool's folder, where the daemon keeps its records, is full";
    return { ...call, code: "NO_SPACE", reason, hint: "Free some space there." };
  }
  const known =
    error instanceof PoolError
      ? { code: BY_POOL_CODE[error.code], error }
      : error instanceof NativeError
        ? { code: BY_NATIVE_CODE[error.code], error }
        : undefined;
  if (known === undefined || known.code === "INTERNAL") {
    const errnoName = known?.error.errnoName;
    const errno = known?.error.errno;
    return { ...call, code: "INTERNAL", reason: "the daemon failed", errno, errnoName };
  }
  const { code, error: cause } = known;
  // The name that is taken is the new device's, and its hint is to remove it: never say that of an origin.
  const object = cause.code === "DEVICE_EXISTS" ? cause.object : call.object;
  return {
    ...call,
    object,
    code,
    reason: cause.reason,
    hint: cause.hint,
    errno: cause.errno,
    errnoName: cause.errnoName,
  };
}

/** sqlite3.h: of a store beside the pool's ledger, whose failures are PoolErrors. */
const SQLITE_FULL = 13;

function isFull(error: unknown): boolean {
  if (!(error instanceof Error) || !("errcode" in error)) return false;
  return typeof error.errcode === "number" && (error.errcode & 0xff) === SQLITE_FULL;
}

export function toErrorObject(
  error: unknown,
  call: { readonly operation: string; readonly object: string },
): ErrorObject {
  return errorObjectOf(describeError(error, call));
}
