/**
 * Every failure of this package is a NativeError. Callers match on `code`, never on text.
 */

export type NativeErrorCode =
  /** EPERM, EACCES: a capability is missing. */
  | "NATIVE_PERMISSION"
  /** The kernel has no device-mapper, no such target, or lacks the call (ENOSYS, no control node). */
  | "NATIVE_UNSUPPORTED"
  /** EBUSY: somebody has the object open or mounted. */
  | "NATIVE_BUSY"
  /** ENXIO, ENOENT, ENODEV, ENODATA: no such device, file or record. */
  | "NATIVE_NOT_FOUND"
  /** EEXIST: name, uuid or id is taken. */
  | "NATIVE_EXISTS"
  /** EINVAL and refusals of our own before the kernel was asked. */
  | "NATIVE_INVALID"
  /** ENOSPC. */
  | "NATIVE_NO_SPACE"
  /** A wait ended by its limit (udev, buffer growth, retries). */
  | "NATIVE_TIMEOUT"
  /** EOPNOTSUPP: the device is in a state that refuses this (for example a read-only pool). */
  | "NATIVE_REFUSED"
  /** What the kernel or a tool said could not be understood. */
  | "NATIVE_PARSE"
  /** Any other errno. */
  | "NATIVE_IO";

export interface NativeErrorInit {
  readonly code: NativeErrorCode;
  /** What was tried, in the kernel's words: "DM_DEV_REMOVE", "LOOP_CONFIGURE", "fsopen". */
  readonly operation: string;
  /** The device, file or name it was tried on. */
  readonly object: string;
  /** Positive errno, 0 where the kernel was not the one that refused. */
  readonly errno?: number;
  readonly errnoName?: string;
  /** One sentence: what went wrong. */
  readonly reason: string;
  /** One sentence: what to do. */
  readonly hint: string;
  readonly cause?: unknown;
}

export class NativeError extends Error {
  override readonly name = "NativeError";
  readonly code: NativeErrorCode;
  readonly operation: string;
  readonly object: string;
  readonly errno: number;
  readonly errnoName: string | undefined;
  readonly reason: string;
  readonly hint: string;

  constructor(init: NativeErrorInit) {
    const errno = init.errnoName === undefined ? "" : ` (${init.errnoName})`;
    super(`${init.operation} of ${init.object}: ${init.reason}${errno}. ${init.hint}`, {
      cause: init.cause,
    });
    this.code = init.code;
    this.operation = init.operation;
    this.object = init.object;
    this.errno = init.errno ?? 0;
    this.errnoName = init.errnoName;
    this.reason = init.reason;
    this.hint = init.hint;
  }
}
