/**
 * JSON-RPC 2.0 envelopes by direction. Fields that are not known are ignored, so that a newer peer
 * may send more; batches are not part of thinpool.v1.
 */
import * as v from "valibot";
import { MAX_ID_LENGTH, MAX_METHOD_LENGTH } from "./limits.ts";

export const requestId = v.union([
  v.pipe(v.number(), v.safeInteger()),
  v.pipe(v.string(), v.maxLength(MAX_ID_LENGTH)),
]);

/** Client to daemon. `params` is checked by its method's own schema. */
export const requestEnvelope = v.object({
  jsonrpc: v.literal("2.0"),
  id: requestId,
  method: v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_METHOD_LENGTH)),
  params: v.optional(v.record(v.string(), v.unknown()), {}),
});

/** Either way: a message that has no answer. */
export const notificationEnvelope = v.object({
  jsonrpc: v.literal("2.0"),
  method: v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_METHOD_LENGTH)),
  params: v.optional(v.record(v.string(), v.unknown()), {}),
});

/** What an error carries besides number and message. Callers match on `code`. */
export const errorData = v.object({
  /** A name of the table of error codes; a newer daemon may send one that this version has not. */
  code: v.string(),
  errno: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  errnoName: v.optional(v.string()),
  operation: v.string(),
  object: v.string(),
  hint: v.string(),
  retryable: v.optional(v.boolean(), false),
});

export const errorObject = v.object({
  code: v.pipe(v.number(), v.safeInteger()),
  message: v.string(),
  data: errorData,
});

/** Daemon to client. */
export const successEnvelope = v.object({
  jsonrpc: v.literal("2.0"),
  id: requestId,
  result: v.unknown(),
});

/** Daemon to client; `id` is null where the request's could not be read. */
export const failureEnvelope = v.object({
  jsonrpc: v.literal("2.0"),
  id: v.nullable(requestId),
  error: errorObject,
});

export type RequestId = v.InferOutput<typeof requestId>;
export type RequestEnvelope = v.InferOutput<typeof requestEnvelope>;
export type ErrorData = v.InferOutput<typeof errorData>;
export type ErrorObject = v.InferOutput<typeof errorObject>;
export type SuccessEnvelope = v.InferOutput<typeof successEnvelope>;
export type FailureEnvelope = v.InferOutput<typeof failureEnvelope>;
export type ResponseEnvelope = SuccessEnvelope | FailureEnvelope;
