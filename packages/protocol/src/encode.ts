/** From checked values to messages. Pure. */
import type { ErrorObject, RequestId } from "./envelopes.ts";
import type { ErrorCode } from "./error-codes.ts";
import { errorCodes } from "./error-codes.ts";
import type { MethodName, MethodParams, MethodResult } from "./methods/index.ts";
import type { DaemonNotification, StreamWindow } from "./notifications.ts";

export interface ErrorDescription {
  readonly code: ErrorCode;
  readonly operation: string;
  readonly object: string;
  /** One sentence: what went wrong. */
  readonly reason: string;
  /** What to do; the table's sentence where the thrower knows nothing better. */
  readonly hint?: string | undefined;
  /** Positive; 0 or undefined where the kernel was not the one that refused. */
  readonly errno?: number | undefined;
  readonly errnoName?: string | undefined;
}

export function encodeRequest<M extends MethodName>(
  id: RequestId,
  method: M,
  params: MethodParams<M>,
  key?: string,
): string {
  const all = key === undefined ? params : { ...params, idempotencyKey: key };
  return JSON.stringify({ jsonrpc: "2.0", id, method, params: all });
}

export function encodeCancel(id: RequestId): string {
  return JSON.stringify({ jsonrpc: "2.0", method: "request.cancel", params: { id } });
}

export function encodeStreamWindow(params: StreamWindow): string {
  return JSON.stringify({ jsonrpc: "2.0", method: "stream.window", params });
}

export function encodeNotification(notification: DaemonNotification): string {
  return JSON.stringify({ jsonrpc: "2.0", ...notification });
}

export function encodeSuccess<M extends MethodName>(
  id: RequestId,
  _method: M,
  result: MethodResult<M>,
): string {
  return JSON.stringify({ jsonrpc: "2.0", id, result });
}

export function errorObjectOf(description: ErrorDescription): ErrorObject {
  const entry = errorCodes[description.code];
  const { operation, object, reason, errno, errnoName } = description;
  const hint = description.hint ?? entry.hint;
  const suffix = errnoName === undefined ? "" : ` (${errnoName})`;
  return {
    code: entry.number,
    message: `${operation} of ${object}: ${reason}${suffix}. ${hint}`,
    data: {
      code: description.code,
      operation,
      object,
      hint,
      retryable: entry.retryable,
      ...(errno === undefined || errno <= 0 ? {} : { errno }),
      ...(errnoName === undefined ? {} : { errnoName }),
    },
  };
}

export function encodeFailure(id: RequestId | null, error: ErrorObject): string {
  return JSON.stringify({ jsonrpc: "2.0", id, error });
}
