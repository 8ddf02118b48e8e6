/**
 * The one funnel from a request to its answer: turn, policy, handler, schema of the result. Every throw
 * becomes an answer here; every call that changes something leaves an audit line.
 */
import { randomUUID } from "node:crypto";
import type { KnownRequest } from "@thinpool/protocol";
import {
  MAX_RESPONSE_BYTES,
  encodeFailure,
  encodeSuccess,
  errorObjectOf,
  methods,
  parseResult,
} from "@thinpool/protocol";
import type { Caller } from "./caller.ts";
import { RequestError, describeError } from "./errors.ts";
import type { CallContext, Handlers } from "./handlers/index.ts";
import type { KeyedCalls, KeyedWork } from "./idempotency/keyed-calls.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { Logger } from "./log.ts";
import { errorText } from "./log.ts";
import type { Access } from "./policy/access.ts";
import type { Principal } from "./policy/policy.ts";
import { assertPolicyComplete, objectOf, paramOf, policy } from "./policy/policy.ts";

export interface DispatcherParts {
  readonly handlers: Handlers;
  readonly access: Pick<Access, "actingAs" | "judge">;
  /** The device that a reference is to; undefined where there is none. */
  readonly deviceOfReference: (id: string) => string | undefined;
  readonly keyed: KeyedCalls;
  /** The turns of the devices. */
  readonly queue: KeyedQueue;
  readonly logger: Logger;
  /** Told of each call that has ended. */
  readonly observe?: (call: EndedCall) => void;
}

export interface EndedCall {
  readonly method: string;
  /** "done", or an error code. */
  readonly outcome: string;
  readonly seconds: number;
}

/** What the audit line gets to know on a call's way. */
interface Trail {
  /** The rule that decided; undefined where it did not come to that. */
  rule?: string;
  onBehalfOf?: number;
}
/** A call without an idempotency key: nothing of it is remembered. */
const UNKEYED: KeyedWork = { newUuid: () => randomUUID(), begin: () => undefined };

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #running = new Set<Promise<string>>();
  #accepting = true;
  #nextCall = 1;

  /** Throws where a method has no policy. */
  constructor(parts: DispatcherParts) {
    assertPolicyComplete();
    this.#parts = parts;
  }

  /** Never rejects: the answer to send. The request has passed its schema. */
  async answer(request: KnownRequest, caller: Caller): Promise<string> {
    const work = this.#call(request, caller);
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** From now on every request is answered UNAVAILABLE; resolves when those that run have ended. */
  async drain(): Promise<void> {
    this.#accepting = false;
    await Promise.all(this.#running);
  }

  async #call(request: KnownRequest, caller: Caller): Promise<string> {
    const { method } = request;
    const object = objectOf(request);
    const call = this.#nextCall;
    this.#nextCall += 1;
    const startedAt = performance.now();
    const trail: Trail = {};
    const audit = {
      call,
      connection: caller.connection,
      id: String(request.id),
      uid: caller.principal.uid,
      pid: caller.principal.pid,
      method,
      object,
      ...("name" in request.params ? { name: request.params.name } : {}),
    };
    try {
      const result = await this.#once(request, caller, trail);
      const answer = encodeChecked(request, result);
      this.#observe(method, "done", startedAt);
      if (methods[method].changes) {
        const ms = Math.round(performance.now() - startedAt);
        this.#parts.logger.log("info", "audit", { ...audit, ...trail, outcome: "done", ms });
      }
      return answer;
    } catch (thrown) {
      const error = asCancelled(thrown, caller.signal, { operation: method, object });
      const description = describeError(error, { operation: method, object });
      this.#observe(method, description.code, startedAt);
      if (description.code === "INTERNAL") {
        const fields = { call, id: String(request.id), method, error: errorText(error) };
        this.#parts.logger.log("error", "internal-error", fields);
      }
      if (methods[method].changes) {
        this.#parts.logger.log("info", "audit", { ...audit, ...trail, outcome: description.code });
      }
      return encodeFailure(request.id, errorObjectOf(description));
    }
  }

  /** With an idempotency key: at most once, whatever happens in between. */
  #once(request: KnownRequest, caller: Caller, trail: Trail): Promise<unknown> {
    const { key } = request;
    if (key === undefined) return this.#inTurn(request, caller, UNKEYED, trail);
    const { uid } = caller.principal;
    return this.#parts.keyed.run({ ...request, key }, uid, (work) =>
      this.#inTurn(request, caller, work, trail),
    );
  }

  /** Operations on one device one after another; those that only look need no turn. */
  async #inTurn(
    request: KnownRequest,
    caller: Caller,
    work: KeyedWork,
    trail: Trail,
  ): Promise<unknown> {
    const key = this.#turnOf(request);
    const run = (): Promise<unknown> => this.#judgeAndHandle(request, caller, work, trail);
    return key === undefined ? run() : this.#parts.queue.run(key, request.method, run);
  }

  #turnOf(request: KnownRequest): string | undefined {
    const { turn } = policy[request.method];
    const named = paramOf(request, turn);
    if (named === undefined || turn !== "reference") return named;
    return this.#parts.deviceOfReference(named);
  }

  /** The judgement holds for the handler's first look at the objects: nothing is awaited in between. */
  async #judgeAndHandle(
    request: KnownRequest,
    caller: Caller,
    work: KeyedWork,
    trail: Trail,
  ): Promise<unknown> {
    const operation = request.method;
    const object = objectOf(request);
    if (!this.#accepting) {
      throw new RequestError({
        code: "UNAVAILABLE",
        operation,
        object,
        reason: "the daemon is stopping",
      });
    }
    if (caller.signal.aborted) {
      const reason = "its caller gave it up before its turn came";
      throw new RequestError({ code: "CANCELLED", operation, object, reason });
    }
    const { access } = this.#parts;
    const named = "onBehalfOf" in request.params ? request.params.onBehalfOf : undefined;
    if (named !== undefined) trail.onBehalfOf = named;
    const { principal } = await access.actingAs(caller.principal, request);
    const verdict = access.judge(principal, request);
    trail.rule = verdict.rule;
    if (!verdict.allowed) {
      const { code, reason } = verdict;
      throw new RequestError({ code, operation, object, reason });
    }
    const handler = this.#parts.handlers[request.method] as (
      params: KnownRequest["params"],
      principal: Principal,
      call: CallContext,
    ) => Promise<unknown>;
    work.begin();
    return handler(request.params, principal, { ...caller, newUuid: work.newUuid });
  }

  #observe(method: string, outcome: string, startedAt: number): void {
    this.#parts.observe?.({ method, outcome, seconds: (performance.now() - startedAt) / 1000 });
  }
}

/** A handler that was stopped half way, with nothing done, throws the signal's own reason. */
function asCancelled(
  thrown: unknown,
  signal: AbortSignal,
  call: { readonly operation: string; readonly object: string },
): unknown {
  if (!signal.aborted || thrown !== signal.reason) return thrown;
  return new RequestError({ ...call, code: "CANCELLED", reason: "its caller gave it up" });
}

function encodeChecked(request: KnownRequest, result: unknown): string {
  const { id, method } = request;
  const checked = parseResult(method, result);
  if (!checked.ok) throw new Error(checked.reason);
  const text = encodeSuccess(id, method, checked.value);
  if (Buffer.byteLength(text) > MAX_RESPONSE_BYTES) {
    throw new RequestError({
      code: "TOO_LARGE",
      operation: method,
      object: objectOf(request),
      reason: `the answer is larger than ${MAX_RESPONSE_BYTES} bytes`,
    });
  }
  return text;
}
