/** Every failure of the SDK is a ThinpoolError. Match on `code`, never on text. */
import type { ClientErrorCode, ErrorCode, ErrorObject, Refusal } from "@thinpool/protocol";
import { clientErrorCodes, errorCodes, isErrorCode } from "@thinpool/protocol";

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

/** What this side says in the daemon's words, since it means the same. */
type OwnUseOfDaemonCode =
  | "TIMEOUT"
  | "LIMIT"
  | "TOO_LARGE"
  | "NAME_INVALID"
  | "SESSION_GONE"
  | "STREAM_LOST";

/** A failure that arose on this side. */
export function clientError(
  code: ClientErrorCode | OwnUseOfDaemonCode,
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
