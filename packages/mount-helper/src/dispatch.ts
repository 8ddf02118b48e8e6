/**
 * The one funnel from a request to its answer: turn, policy, handler, schema of the result. Every throw
 * becomes an answer here; every call that changes something leaves an audit line.
 */
import type { KnownRequest } from "@thinpool/protocol";
import {
  MAX_RESPONSE_BYTES,
  encodeFailure,
  encodeSuccess,
  errorObjectOf,
  methods,
  parseResult,
} from "@thinpool/protocol";
import { RequestError, describeError } from "./errors.ts";
import type { Handlers } from "./handlers/index.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import type { Logger } from "./log.ts";
import { errorText } from "./log.ts";
import type { PolicyFacts, Principal } from "./policy/policy.ts";
import { assertPolicyComplete, judge, objectOf, paramOf, policy } from "./policy/policy.ts";

export interface DispatcherParts {
  readonly handlers: Handlers;
  readonly facts: PolicyFacts;
  /** The device that a reference is to; undefined where there is none. */
  readonly deviceOfReference: (id: string) => string | undefined;
  readonly logger: Logger;
}

export interface Caller {
  readonly principal: Principal;
  /** Which connection the call came by. */
  readonly connection: number;
  /** Set when the client gives the call up, or is gone. What can stop half way safely, may. */
  readonly signal: AbortSignal;
}

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #queue = new KeyedQueue();
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
      const result = await this.#inTurn(request, caller.principal);
      const answer = encodeChecked(request, result);
      if (methods[method].changes) {
        const ms = Math.round(performance.now() - startedAt);
        this.#parts.logger.log("info", "audit", { ...audit, outcome: "done", ms });
      }
      return answer;
    } catch (error) {
      const description = describeError(error, { operation: method, object });
      if (description.code === "INTERNAL") {
        const fields = { call, id: String(request.id), method, error: errorText(error) };
        this.#parts.logger.log("error", "internal-error", fields);
      }
      if (methods[method].changes) {
        this.#parts.logger.log("info", "audit", { ...audit, outcome: description.code });
      }
      return encodeFailure(request.id, errorObjectOf(description));
    }
  }

  /** Operations on one device one after another; those that only look need no turn. */
  async #inTurn(request: KnownRequest, principal: Principal): Promise<unknown> {
    const key = this.#turnOf(request);
    const run = (): Promise<unknown> => this.#judgeAndHandle(request, principal);
    return key === undefined ? run() : this.#queue.run(key, request.method, run);
  }

  #turnOf(request: KnownRequest): string | undefined {
    const { turn } = policy[request.method];
    const named = paramOf(request, turn);
    if (named === undefined || turn !== "reference") return named;
    return this.#parts.deviceOfReference(named);
  }

  /** The judgement holds for the handler's first look at the objects: nothing is awaited in between. */
  async #judgeAndHandle(request: KnownRequest, principal: Principal): Promise<unknown> {
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
    const verdict = judge(principal, request, this.#parts.facts);
    if (!verdict.allowed) {
      const { code, reason } = verdict;
      throw new RequestError({ code, operation, object, reason });
    }
    const handler = this.#parts.handlers[request.method] as (
      params: KnownRequest["params"],
      caller: Principal,
    ) => Promise<unknown>;
    return handler(request.params, principal);
  }
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
