/** From bytes of a peer to a checked message. Pure; nothing here throws. */
import * as v from "valibot";
import type { ErrorCode } from "./error-codes.ts";
import type { RequestEnvelope, RequestId, ResponseEnvelope } from "./envelopes.ts";
import {
  failureEnvelope,
  notificationEnvelope,
  requestEnvelope,
  requestId,
  successEnvelope,
} from "./envelopes.ts";
import { MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES } from "./limits.ts";
import type { MethodName, MethodParams, MethodResult } from "./methods/index.ts";
import { idempotencyKey, isMethodName, methods } from "./methods/index.ts";
import type { DaemonNotification, StreamWindow } from "./notifications.ts";
import {
  clientNotifications,
  daemonNotifications,
  isDaemonNotificationName,
} from "./notifications.ts";

export interface Refusal {
  readonly ok: false;
  readonly code: ErrorCode;
  /** One sentence: what is wrong. */
  readonly reason: string;
  /** The id of the refused request, null where it could not be read. */
  readonly id: RequestId | null;
}

export type Parsed<T> = { readonly ok: true; readonly value: T } | Refusal;

/** A request whose method is known and whose params fit that method's schema. */
export type KnownRequest = {
  [M in MethodName]: {
    readonly id: RequestId;
    readonly method: M;
    readonly params: MethodParams<M>;
    /** Who sends the same key again means the same change, and must not have it happen twice. */
    readonly key?: string | undefined;
  };
}[MethodName];

/** Whatever a client may send. */
export type ClientMessage =
  | { readonly type: "request"; readonly request: KnownRequest }
  | { readonly type: "cancel"; readonly id: RequestId }
  | { readonly type: "window"; readonly window: StreamWindow };

/** Whatever the daemon may send. */
export type DaemonMessage =
  | { readonly type: "response"; readonly response: ResponseEnvelope }
  | { readonly type: "notification"; readonly notification: DaemonNotification }
  /** A newer daemon's notification: nothing to this side. */
  | { readonly type: "unknown" };

/** "params.name: Invalid length …": the first thing that does not fit. */
function firstIssue(issues: readonly v.BaseIssue<unknown>[]): string {
  const issue = issues[0];
  if (issue === undefined) return "it does not fit the schema";
  const path = v.getDotPath(issue);
  return path === null ? issue.message : `${path}: ${issue.message}`;
}

function refusal(code: ErrorCode, reason: string, id: RequestId | null): Refusal {
  return { ok: false, code, reason, id };
}

/** In UTF-8 a string has one to three bytes for each of its UTF-16 units: most need not be encoded to tell. */
function fitsInto(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes) return false;
  return text.length * 3 <= maxBytes || new TextEncoder().encode(text).length <= maxBytes;
}

function readJson(text: string, maxBytes: number): Parsed<unknown> {
  if (!fitsInto(text, maxBytes)) {
    return refusal("TOO_LARGE", `the message is larger than ${maxBytes} bytes`, null);
  }
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refusal("PARSE_ERROR", `the message is no JSON: ${reason}`, null);
  }
}

function readId(value: unknown): RequestId | null {
  if (typeof value !== "object" || value === null || !("id" in value)) return null;
  const id = v.safeParse(requestId, value.id);
  return id.success ? id.output : null;
}

function isNotification(value: unknown): value is { readonly method: unknown } {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    "method" in value &&
    !("id" in value)
  );
}

/** A client's message, down to its method's schema. Names that break the rules give NAME_INVALID. */
export function parseClientMessage(text: string): Parsed<ClientMessage> {
  const json = readJson(text, MAX_REQUEST_BYTES);
  if (!json.ok) return json;
  if (isNotification(json.value)) return parseClientNotification(json.value);
  const envelope = v.safeParse(requestEnvelope, json.value);
  if (!envelope.success) {
    return refusal("INVALID_REQUEST", firstIssue(envelope.issues), readId(json.value));
  }
  const call = checkRequest(envelope.output);
  return call.ok ? { ok: true, value: { type: "request", request: call.value } } : call;
}

/** A client's message that must be a request. */
export function parseRequest(text: string): Parsed<KnownRequest> {
  const message = parseClientMessage(text);
  if (!message.ok) return message;
  return message.value.type === "request"
    ? { ok: true, value: message.value.request }
    : refusal("INVALID_REQUEST", "it is a notification: a request has an id", null);
}

function parseClientNotification(value: unknown): Parsed<ClientMessage> {
  const envelope = v.safeParse(notificationEnvelope, value);
  if (!envelope.success) return refusal("INVALID_REQUEST", firstIssue(envelope.issues), null);
  const { method, params } = envelope.output;
  if (method === "stream.window") {
    const window = v.safeParse(clientNotifications[method].params, params);
    if (!window.success) return refusal("INVALID_PARAMS", firstIssue(window.issues), null);
    return { ok: true, value: { type: "window", window: window.output } };
  }
  if (method !== "request.cancel") {
    // JSON-RPC would have it ignored. Told at once it is found at once: a request without an id.
    const reason = `there is no notification ${JSON.stringify(method)}`;
    return refusal("INVALID_REQUEST", reason, null);
  }
  const cancel = v.safeParse(clientNotifications[method].params, params);
  if (!cancel.success) return refusal("INVALID_PARAMS", firstIssue(cancel.issues), null);
  return { ok: true, value: { type: "cancel", id: cancel.output.id } };
}

/** Where parameters have devices' names. */
const NAME_PLACE = /^(name|origin|device|to|snapshot|from|snapshots\.\d+\.(origin|name))$/;

/** A request whose envelope is well: its method, the params by that method's schema, and the key. */
export function checkRequest(
  request: Pick<RequestEnvelope, "id" | "method" | "params">,
): Parsed<KnownRequest> {
  const { id, method } = request;
  if (!isMethodName(method)) {
    return refusal("METHOD_NOT_FOUND", `there is no method ${JSON.stringify(method)}`, id);
  }
  const params = v.safeParse(methods[method].params, request.params);
  if (!params.success) {
    const issue = params.issues[0];
    const isName = NAME_PLACE.test(v.getDotPath(issue) ?? "");
    const code = isName && issue.input !== undefined ? "NAME_INVALID" : "INVALID_PARAMS";
    return refusal(code, `params.${firstIssue(params.issues)}`, id);
  }
  // The schema that was used is the one of this very method; the compiler can't follow the union.
  const call = { id, method, params: params.output } as KnownRequest;
  if (!methods[method].changes || !("idempotencyKey" in request.params)) {
    return { ok: true, value: call };
  }
  const key = v.safeParse(idempotencyKey, request.params["idempotencyKey"]);
  if (!key.success) {
    return refusal("INVALID_PARAMS", `params.idempotencyKey: ${firstIssue(key.issues)}`, id);
  }
  return { ok: true, value: { ...call, key: key.output } };
}

/** A daemon's message. A result is checked later, by `parseResult`: only the caller knows the method. */
export function parseDaemonMessage(text: string): Parsed<DaemonMessage> {
  const json = readJson(text, MAX_RESPONSE_BYTES);
  if (!json.ok) return json;
  if (isNotification(json.value)) return parseDaemonNotification(json.value);
  const isFailure = typeof json.value === "object" && json.value !== null && "error" in json.value;
  const envelope = isFailure
    ? v.safeParse(failureEnvelope, json.value)
    : v.safeParse(successEnvelope, json.value);
  if (!envelope.success) {
    return refusal("INVALID_REQUEST", firstIssue(envelope.issues), readId(json.value));
  }
  return { ok: true, value: { type: "response", response: envelope.output } };
}

/** A daemon's message that must be an answer. */
export function parseResponse(text: string): Parsed<ResponseEnvelope> {
  const message = parseDaemonMessage(text);
  if (!message.ok) return message;
  return message.value.type === "response"
    ? { ok: true, value: message.value.response }
    : refusal("INVALID_REQUEST", "it is a notification: an answer has an id", null);
}

function parseDaemonNotification(value: unknown): Parsed<DaemonMessage> {
  const envelope = v.safeParse(notificationEnvelope, value);
  if (!envelope.success) return refusal("INVALID_REQUEST", firstIssue(envelope.issues), null);
  const { method } = envelope.output;
  if (!isDaemonNotificationName(method)) return { ok: true, value: { type: "unknown" } };
  const params = v.safeParse(daemonNotifications[method].params, envelope.output.params);
  if (!params.success) return refusal("INVALID_PARAMS", firstIssue(params.issues), null);
  // As in checkRequest: schema and name belong together.
  const notification = { method, params: params.output } as DaemonNotification;
  return { ok: true, value: { type: "notification", notification } };
}

/** What a method answered, checked by its schema: by the daemon before it sends, by the client after. */
export function parseResult<M extends MethodName>(
  method: M,
  result: unknown,
): Parsed<MethodResult<M>> {
  const parsed = v.safeParse(methods[method].result, result);
  if (!parsed.success) {
    return refusal(
      "INTERNAL",
      `the result of ${method} does not fit: ${firstIssue(parsed.issues)}`,
      null,
    );
  }
  return { ok: true, value: parsed.output };
}
