/** Every failure of the SDK is a ThinpoolError. Match on `code`, never on text. */
import type { ErrorCode, ErrorObject, Refusal } from "@thinpool/protocol";
import { errorCodes, isErrorCode } from "@thinpool/protocol";

/** Failures on this side of the socket. */
export const clientErrorCodes = {
  DAEMON_UNREACHABLE: {
    retryable: true,
    hint: "Start the daemon: thinpool serve, or systemctl start thinpoold.",
  },
  SOCKET_FORBIDDEN: {
    retryable: false,
    hint: "Join the group that owns the socket (ls -l shows it), or ask an administrator.",
  },
  CONNECTION_LOST: {
    retryable: false,
    hint: "Connect again and look at the object's state: a change may or may not have happened.",
  },
  CLIENT_CLOSED: { retryable: false, hint: "Connect again: this client was closed." },
  ABORTED: {
    retryable: false,
    hint: "Look at the object's state: a change that was asked for may still happen.",
  },
  PROTOCOL: {
    retryable: false,
    hint: "Update the SDK or the daemon: the two do not speak the same thinpool.v1.",
  },
  ARGUMENT_INVALID: { retryable: false, hint: "Correct the argument that the reason names." },
} as const;

export type ClientErrorCode = keyof typeof clientErrorCodes;
/** The daemon's codes and the client's own. A newer daemon's unknown code arrives as it is. */
export type ThinpoolErrorCode = ErrorCode | ClientErrorCode;

export interface ThinpoolErrorInit {
  readonly code: string;
  readonly message: string;
  readonly operation: string;
  readonly object: string;
  readonly hint: string;
  readonly retryable: boolean;
  readonly errno?: number | undefined;
  readonly errnoName?: string | undefined;
  readonly cause?: unknown;
}

export class ThinpoolError extends Error {
  override readonly name = "ThinpoolError";
  /** One of ThinpoolErrorCode, or a newer daemon's own. */
  readonly code: ThinpoolErrorCode | (string & {});
  readonly operation: string;
  readonly object: string;
  /** One sentence: what to do. */
  readonly hint: string;
  /** The same call may work later, unchanged. */
  readonly retryable: boolean;
  /** Positive where the daemon's kernel refused, else 0. */
  readonly errno: number;
  readonly errnoName: string | undefined;

  constructor(init: ThinpoolErrorInit) {
    super(init.message, { cause: init.cause });
    this.code = init.code;
    this.operation = init.operation;
    this.object = init.object;
    this.hint = init.hint;
    this.retryable = init.retryable;
    this.errno = init.errno ?? 0;
    this.errnoName = init.errnoName;
  }
}

/** True for a ThinpoolError with this code: `if (hasCode(error, "BUSY"))`. */
export function hasCode(error: unknown, code: ThinpoolErrorCode): error is ThinpoolError {
  return error instanceof ThinpoolError && error.code === code;
}

/** A failure that arose on this side. */
export function clientError(
  code: ClientErrorCode | "TIMEOUT" | "LIMIT" | "TOO_LARGE" | "NAME_INVALID",
  context: {
    readonly operation: string;
    readonly object: string;
    readonly reason: string;
    readonly cause?: unknown;
  },
): ThinpoolError {
  const entry = isErrorCode(code) ? errorCodes[code] : clientErrorCodes[code];
  const { operation, object, reason, cause } = context;
  return new ThinpoolError({
    code,
    message: `${operation} of ${object}: ${reason}. ${entry.hint}`,
    operation,
    object,
    hint: entry.hint,
    retryable: entry.retryable,
    cause,
  });
}

/** A failure that the daemon sent. */
export function errorFromWire(error: ErrorObject): ThinpoolError {
  const { code, operation, object, hint, retryable, errno, errnoName } = error.data;
  return new ThinpoolError({
    code,
    message: error.message,
    operation,
    object,
    hint,
    retryable,
    errno,
    errnoName,
  });
}

/** What the daemon sent does not fit the protocol. */
export function errorFromRefusal(operation: string, refusal: Refusal): ThinpoolError {
  return clientError("PROTOCOL", { operation, object: "the daemon", reason: refusal.reason });
}
