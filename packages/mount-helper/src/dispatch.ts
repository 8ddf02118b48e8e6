/**
 * The one funnel from a request to its answer: turn, policy, handler, schema of the result. Every throw
 * becomes an answer here; every call that changes something leaves an audit line.
 */
import { randomUUID } from "node:crypto";
import type { KnownRequest, MethodName } from "@thinpool/protocol";
import {
  MAX_RESPONSE_BYTES,
  encodeFailure,
  encodeSuccess,
  errorObjectOf,
  isLongMethod,
  isStreamMethod,
  methods,
  parseResult,
} from "@thinpool/protocol";
import { BoundedLines } from "./bounded-lines.ts";
import type { Caller } from "./caller.ts";
import { RequestError, WithdrawnError, describeError } from "./errors.ts";
import type { CallContext, Handlers } from "./handlers/index.ts";
import type { KeyedCalls, KeyedWork } from "./idempotency/keyed-calls.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { Logger } from "./log.ts";
import { errorText } from "./log.ts";
import { Pace } from "./pace.ts";
import { encodeLong, longListOf } from "./long-answers.ts";
import { DEFAULT_LIMITS } from "./policy/access.ts";
import type { Access } from "./policy/access.ts";
import type { Principal } from "./policy/policy.ts";
import { Shares } from "./shares.ts";
import { assertPolicyComplete, objectOf, paramOf, policy } from "./policy/policy.ts";

export interface DispatcherParts {
  readonly handlers: Handlers;
  readonly access: Pick<Access, "actingAs" | "judge" | "limits">;
  /** The device that a reference is to; undefined where there is none. */
  readonly deviceOfReference: (id: string) => string | undefined;
  readonly keyed: KeyedCalls;
  /** The turns of the devices. */
  readonly queue: KeyedQueue;
  readonly logger: Logger;
  /** Told of each call that has ended. */
  readonly observe?: (call: EndedCall) => void;
  /** Only for tests: in place of LONG_REQUEST_MS. */
  readonly longRequestMs?: number;
}

export interface EndedCall {
  readonly method: string;
  /** "done", or an error code. */
  readonly outcome: string;
  readonly seconds: number;
}

/** A user's calls that had their time and go on all the same; at so many he is refused further ones. */
export const MAX_OVERDUE_PER_UID = 64;

/**
 * In place of the policy's limit, which is no longer, for calls that take as long as the pool is large. Their
 * caller ends them, also by going away, and a tool that stands still is ended by who runs it: so this only
 * keeps a slot from being taken for ever.
 */
export const LONG_REQUEST_MS: number = 24 * 60 * 60 * 1000;

/**
 * A user's changes that are under way, or in line for a device's turn, at once; his further ones wait. The engine
 * refuses everybody above a number that several such users do not reach. Root's all are.
 */
export const MAX_CHANGES_PER_UID = 128;

/**
 * Their answers grow with what there is, to megabytes, and take several turns of the event loop: of one user's so
 * many are put together at once, or a thousand of them would be in memory at the same time.
 */
const LISTS: ReadonlySet<MethodName> = new Set([
  "device.list",
  "events.list",
  "mount.list",
  "pool.usage",
  "token.list",
  "token.listConnect",
]);
export const MAX_LISTS_PER_UID = 4;

/**
 * Lines in the audit log about one user's calls of one method that were refused; further ones are counted. Without a
 * limit they would be as many as he may ask, and the log's own limit would take others' lines along. By the method:
 * who guesses references does not hide by that what else he tries.
 */
export const REFUSALS_AUDITED_PER_SECOND = 10;
/** Users and methods whose refusals are counted; what was refused longest ago is forgotten first. */
const MAX_REFUSED = 4096;

/** What the audit line gets to know on a call's way. */
interface Trail {
  /** The rule that decided; undefined where it did not come to that. */
  rule?: string;
  onBehalfOf?: number;
}

/** One call on its way. */
interface Call {
  readonly request: KnownRequest;
  readonly caller: Caller;
  readonly number: number;
  readonly startedAt: number;
  readonly trail: Trail;
  /** "joined": the same call, sent before with the same key, is what it waits for. */
  state: "joined" | "waiting" | "begun";
  /** Its caller has been told that it takes too long. */
  overdue: boolean;
}

/** How often a call goes to another device's turn before it is refused: its reference keeps coming and going. */
const MAX_TURNS = 4;
const ANOTHER_TURN: unique symbol = Symbol("another turn");

/** Of a call that changes nothing. */
const LOOK: KeyedWork = {
  newUuid: () => randomUUID(),
  begin: () => undefined,
  made: () => undefined,
};

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #running = new Set<Promise<string>>();
  #accepting = true;
  readonly #pace = new Pace();
  readonly #overdue = new Map<number, number>();
  readonly #shares = new Shares(MAX_CHANGES_PER_UID);
  /** By uid and method; what was refused last is the last. */
  readonly #refusals = new Map<string, BoundedLines>();
  readonly #lists = new Shares(MAX_LISTS_PER_UID);
  #nextCall = 1;

  /** Throws where a method has no policy. */
  constructor(parts: DispatcherParts) {
    assertPolicyComplete();
    this.#parts = parts;
  }

  /**
   * Never rejects: the answer to send. The request has passed its schema. There is one within the
   * caller's limit: a call that has not begun by then never will; one that has goes on to its end in its
   * turn, so that its effect is whole, and the audit log gets a second line.
   */
  async answer(request: KnownRequest, caller: Caller): Promise<string> {
    const call: Call = {
      request,
      caller,
      number: this.#nextCall,
      startedAt: performance.now(),
      trail: {},
      state: LISTS.has(request.method) ? "waiting" : "joined",
      overdue: false,
    };
    this.#nextCall += 1;
    const work = this.#work(call);
    this.#running.add(work);
    void work.then(() => this.#running.delete(work));
    const { uid } = caller.principal;
    // A stream takes as long as it is: the worker ends one that stands still.
    if (isStreamMethod(request.method)) return work;
    const limitMs = this.#limitMsOf(request, caller.principal);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), limitMs);
    const answer = await Promise.race([work, promise]);
    clearTimeout(timer);
    if (answer !== undefined) return answer;
    void this.#countOverdue(uid, work);
    return this.#giveUp(call, limitMs);
  }

  #limitMsOf({ method }: KnownRequest, principal: Principal): number {
    if (isLongMethod(method)) return this.#parts.longRequestMs ?? LONG_REQUEST_MS;
    // For root the policy's limits do not hold, but a slot is not for ever for anybody.
    const limits = principal.uid === 0 ? DEFAULT_LIMITS : this.#parts.access.limits(principal);
    return limits.requestMs;
  }

  /** From now on every request is answered UNAVAILABLE; resolves when those that run have ended. */
  async drain(): Promise<void> {
    this.#accepting = false;
    await Promise.all(this.#running);
  }

  async #work(call: Call): Promise<string> {
    const { request } = call;
    const { method } = request;
    try {
      this.#assertFewOverdue(call);
      await this.#pace.enter();
      const { uid } = call.caller.principal;
      const answer = LISTS.has(method)
        ? await this.#lists.run(uid, () => this.#encoded(call))
        : await this.#encoded(call);
      this.#ended(call, "done");
      return answer;
    } catch (thrown) {
      const named = { operation: method, object: objectOf(request) };
      const description = describeError(thrown, named);
      if (description.code === "INTERNAL") {
        const fields = { call: call.number, id: String(request.id), method };
        this.#parts.logger.log("error", "internal-error", { ...fields, error: errorText(thrown) });
      }
      this.#ended(call, description.code);
      return encodeFailure(request.id, errorObjectOf(description));
    }
  }

  async #encoded(call: Call): Promise<string> {
    const { request } = call;
    const result = await this.#once(call);
    // A change's end is that of others too, which were committed with it.
    if (methods[request.method].changes && this.#running.size > 1) await this.#pace.later();
    return encodeChecked(request, result);
  }

  /** Its time is over. Tells its caller so, and those who can stop half way safely. */
  #giveUp(call: Call, limitMs: number): string {
    const { request, caller, state } = call;
    const error = new RequestError({
      code: "TIMEOUT",
      operation: request.method,
      object: objectOf(request),
      ...(state === "waiting"
        ? {
            reason: `its turn did not come within ${limitMs} ms, and nothing of it was done`,
            hint: "Try again later.",
          }
        : { reason: `it takes longer than ${limitMs} ms, and goes on` }),
    });
    this.#ended(call, "TIMEOUT");
    call.overdue = true;
    caller.giveUp(error);
    return encodeFailure(request.id, errorObjectOf(error.description));
  }

  /** Once for each call; a second time, for the audit log only, for one that went on when it was overdue. */
  #ended(call: Call, outcome: string): void {
    const { request, caller, number, startedAt, trail, overdue, state } = call;
    const { method, params } = request;
    const elapsedMs = performance.now() - startedAt;
    if (!overdue) this.#parts.observe?.({ method, outcome, seconds: elapsedMs / 1000 });
    const isWithdrawn = overdue && state !== "begun";
    if (!methods[method].changes || isWithdrawn) return;
    const { uid, pid } = caller.principal;
    const isRefused = outcome !== "done" && outcome !== "TIMEOUT" && !overdue;
    const bounded =
      isRefused && uid !== 0 ? this.#refusalsOf(uid, method).take(performance.now()) : {};
    if (bounded === undefined) return;
    this.#parts.logger.log("info", "audit", {
      call: number,
      connection: caller.connection,
      id: String(request.id),
      uid,
      pid,
      ...(caller.token === undefined ? {} : { token: caller.token }),
      method,
      object: objectOf(request),
      ...("name" in params ? { name: params.name } : {}),
      ...trail,
      outcome,
      ms: Math.round(elapsedMs),
      ...(overdue ? { late: true } : {}),
      ...bounded,
    });
  }

  #refusalsOf(uid: number, method: MethodName): BoundedLines {
    const key = `${uid} ${method}`;
    const lines = this.#refusals.get(key) ?? new BoundedLines(REFUSALS_AUDITED_PER_SECOND);
    this.#refusals.delete(key);
    this.#refusals.set(key, lines);
    const [oldest] = this.#refusals.keys();
    if (this.#refusals.size > MAX_REFUSED && oldest !== undefined) this.#refusals.delete(oldest);
    return lines;
  }

  async #countOverdue(uid: number, work: Promise<string>): Promise<void> {
    this.#overdue.set(uid, (this.#overdue.get(uid) ?? 0) + 1);
    await work;
    const left = (this.#overdue.get(uid) ?? 1) - 1;
    if (left === 0) this.#overdue.delete(uid);
    else this.#overdue.set(uid, left);
  }

  #assertFewOverdue({ request, caller }: Call): void {
    const { uid } = caller.principal;
    if (uid === 0 || (this.#overdue.get(uid) ?? 0) < MAX_OVERDUE_PER_UID) return;
    throw new RequestError({
      code: "LIMIT",
      operation: request.method,
      object: objectOf(request),
      reason: `${MAX_OVERDUE_PER_UID} calls of yours have had their time and go on`,
      hint: "Wait for them to end; an administrator sees by thinpool pool status what keeps them.",
    });
  }

  /** With an idempotency key: at most once, whatever happens in between. */
  #once(call: Call): Promise<unknown> {
    const { request, caller } = call;
    const { key } = request;
    const { keyed } = this.#parts;
    if (key === undefined) {
      // What it changes may be what another key's record is about.
      const isChange = methods[request.method].changes;
      return this.#inTurn(call, isChange ? keyed.unkeyed() : LOOK);
    }
    const { uid } = caller.principal;
    return keyed.run({ ...request, key }, uid, (work) => this.#inTurn(call, work));
  }

  /** Operations on one device one after another; those that only look need no turn. */
  #inTurn(call: Call, work: KeyedWork): Promise<unknown> {
    const { request, caller } = call;
    const { uid } = caller.principal;
    call.state = "waiting";
    const inTurn = async (): Promise<unknown> => {
      for (let turns = 0; turns < MAX_TURNS; turns += 1) {
        const turn = this.#turnOf(request);
        const run = (): Promise<unknown> => this.#judgeAndHandle(call, work, turn);
        const outcome =
          turn === undefined
            ? await run()
            : await this.#parts.queue.run(turn, request.method, run, uid);
        if (outcome !== ANOTHER_TURN) return outcome;
      }
      const about = { operation: request.method, object: objectOf(request) };
      const reason = "what it is about came and went while it waited for its turn";
      throw new RequestError({ ...about, code: "BUSY", reason });
    };
    // A stream takes as long as its client likes, and has a limit of its own.
    const isShared = methods[request.method].changes && !isStreamMethod(request.method);
    return isShared && uid !== 0 ? this.#shares.run(uid, inTurn) : inTurn();
  }

  #turnOf(request: KnownRequest): string | undefined {
    const { turn } = policy[request.method];
    const named = paramOf(request, turn);
    if (named === undefined || turn !== "reference") return named;
    return this.#parts.deviceOfReference(named);
  }

  /**
   * The judgement holds for the handler's first look at the objects: nothing is awaited in between. `turn`: the
   * one that it is called in; ANOTHER_TURN, and nothing is done, where that is not the call's any more.
   */
  async #judgeAndHandle(call: Call, work: KeyedWork, turn: string | undefined): Promise<unknown> {
    const { request, caller, trail } = call;
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
    const { access } = this.#parts;
    const named = "onBehalfOf" in request.params ? request.params.onBehalfOf : undefined;
    if (named !== undefined) trail.onBehalfOf = named;
    const { principal } = await access.actingAs(caller.principal, request);
    for (;;) {
      // After the last wait: what is told to its caller as not begun is not begun.
      if (caller.signal.aborted) {
        const reason = "its caller gave it up before its turn came";
        throw withdrawn(caller.signal, { operation, object, reason });
      }
      // A reference has come to be, or has gone, since: whoever foretold its id gets none past the others.
      if (this.#turnOf(request) !== turn) return ANOTHER_TURN;
      const verdict = access.judge(principal, request);
      trail.rule = verdict.rule;
      if (!verdict.allowed) {
        const { code, reason, device = object } = verdict;
        throw new RequestError({ code, operation, object: device, reason });
      }
      const beginning = work.begin();
      if (beginning === undefined) break;
      await beginning;
      await this.#pace.enter();
    }
    const handler = this.#parts.handlers[request.method] as (
      params: KnownRequest["params"],
      principal: Principal,
      call: CallContext,
    ) => Promise<unknown>;
    call.state = "begun";
    try {
      const { newUuid } = work;
      const outcome = await handler(request.params, principal, { ...caller, newUuid });
      work.made(outcome);
      return outcome;
    } catch (error) {
      // A handler that was stopped half way, with nothing done, throws the signal's own reason.
      if (!caller.signal.aborted || error !== caller.signal.reason) throw error;
      throw withdrawn(caller.signal, { operation, object, reason: "its caller gave it up" });
    }
  }
}

/** By its caller, for his reason, or by the daemon, for the one that it gave to the signal. */
function withdrawn(
  signal: AbortSignal,
  byCaller: { readonly operation: string; readonly object: string; readonly reason: string },
): WithdrawnError {
  const why: unknown = signal.reason;
  return new WithdrawnError(
    why instanceof RequestError ? why.description : { ...byCaller, code: "CANCELLED" },
  );
}

function encodeChecked(request: KnownRequest, result: unknown): string | Promise<string> {
  const { id, method } = request;
  const fits = (bytes: number): void => assertFits(request, bytes);
  const long = longListOf(result);
  if (long !== undefined) return encodeLong(request, result, long, fits);
  const checked = parseResult(method, result);
  if (!checked.ok) throw new Error(checked.reason);
  const text = encodeSuccess(id, method, checked.value);
  fits(Buffer.byteLength(text));
  return text;
}

function assertFits(request: KnownRequest, bytes: number): void {
  if (bytes <= MAX_RESPONSE_BYTES) return;
  throw new RequestError({
    code: "TOO_LARGE",
    operation: request.method,
    object: objectOf(request),
    reason: `the answer is larger than ${MAX_RESPONSE_BYTES} bytes`,
  });
}
