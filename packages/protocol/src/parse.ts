/** From bytes of a peer to a checked message. Pure; nothing here throws. */
import * as v from "valibot";
import type { ErrorCode } from "./error-codes.ts";
import type { RequestEnvelope, RequestId, ResponseEnvelope } from "./envelopes.ts";
import { failureEnvelope, requestEnvelope, requestId, successEnvelope } from "./envelopes.ts";
import { MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES } from "./limits.ts";
import type { MethodName, MethodParams, MethodResult } from "./methods/index.ts";
import { isMethodName, methods } from "./methods/index.ts";

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
  };
}[MethodName];

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

function readJson(text: string, maxBytes: number): Parsed<unknown> {
  // A string holds at least as many bytes as UTF-16 units, so the cheap test comes first.
  if (text.length > maxBytes || new TextEncoder().encode(text).length > maxBytes) {
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

/** A client's message, down to its method's schema. Names that break the rules give NAME_INVALID. */
export function parseRequest(text: string): Parsed<KnownRequest> {
  const json = readJson(text, MAX_REQUEST_BYTES);
  if (!json.ok) return json;
  const id = readId(json.value);
  const envelope = v.safeParse(requestEnvelope, json.value);
  if (!envelope.success) return refusal("INVALID_REQUEST", firstIssue(envelope.issues), id);
  return checkRequest(envelope.output);
}

/** The part of a request that is left when its envelope is taken off: known method, params that fit. */
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
    const key = v.getDotPath(issue);
    const isName = key === "name" || key === "origin" || key === "device";
    const code = isName && issue.input !== undefined ? "NAME_INVALID" : "INVALID_PARAMS";
    return refusal(code, `params.${firstIssue(params.issues)}`, id);
  }
  // The schema that was used is the one of this very method; the compiler can't follow the union.
  return { ok: true, value: { id, method, params: params.output } as KnownRequest };
}

/** A daemon's message. The result is checked later, by `parseResult`: only the caller knows the method. */
export function parseResponse(text: string): Parsed<ResponseEnvelope> {
  const json = readJson(text, MAX_RESPONSE_BYTES);
  if (!json.ok) return json;
  const id = readId(json.value);
  const isFailure = typeof json.value === "object" && json.value !== null && "error" in json.value;
  const envelope = isFailure
    ? v.safeParse(failureEnvelope, json.value)
    : v.safeParse(successEnvelope, json.value);
  if (!envelope.success) return refusal("INVALID_REQUEST", firstIssue(envelope.issues), id);
  return { ok: true, value: envelope.output };
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
