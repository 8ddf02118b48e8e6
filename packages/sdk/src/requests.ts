/**
 * The requests in flight. Each ends exactly once: by its answer, its time limit, its signal, or the end
 * of the link. After a cut those that change nothing, and those with an idempotency key, are sent again
 * as they were; one that changes something without a key fails with CONNECTION_LOST.
 */
import type {
  DaemonNotification,
  MethodName,
  MethodParams,
  MethodResult,
  ResponseEnvelope,
} from "@thinpool/protocol";
import {
  MAX_REQUESTS_IN_FLIGHT,
  encodeCancel,
  encodeRequest,
  isLongMethod,
  methods,
  parseDaemonMessage,
  parseRequest,
  parseResult,
  parseStreamFrame,
} from "@thinpool/protocol";
import type { ThinpoolError } from "./errors.ts";
import { clientError, errorFromRefusal, errorFromWire, hasCode } from "./errors.ts";
import { newKey } from "./key.ts";
import type { Link } from "./link.ts";
import type { StreamEnd } from "./streams.ts";
import { NO_TIMEOUT_MS, sleep, within } from "./wait.ts";

/** Calls that may wait for a place among the requests in flight; the next one gets LIMIT. */
export const MAX_WAITING_CALLS = 1024;
/** A daemon that says it is stopping has done nothing of the request: it is asked again after this. */
const UNAVAILABLE_PAUSE_MS = 250;
/** How long who gives a stream up waits until what it made is gone. */
const WIND_UP_TIMEOUT_MS = 10_000;

export interface Progress {
  readonly done: bigint;
  /** Undefined where it is not known beforehand. */
  readonly total: bigint | undefined;
  readonly unit: "bytes" | "devices" | "files";
}

export interface CallOptions {
  /** Ends the wait with ABORTED, and tells the daemon, which stops what can be stopped. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Until the answer, reconnecting included, in milliseconds; the client's own limit unless given. Calls
   * that take as long as the pool or a stream is large have none by themselves.
   */
  readonly timeoutMs?: number | undefined;
}

export interface ChangeOptions extends CallOptions {
  /**
   * 1 to 64 printable ASCII characters. The daemon makes a change once per key and user, however often
   * it is asked for, and answers the repetition as it did the first time; a mount or an ephemeral clone
   * that has ended meanwhile it makes anew. By default each call has a
   * key of its own, so that it can be sent again after a cut. `false`: none; after a cut in flight the
   * call fails with CONNECTION_LOST.
   */
  readonly idempotencyKey?: string | false | undefined;
}

interface Waiting {
  readonly id: number;
  readonly method: MethodName;
  readonly text: string;
  readonly survivesCut: boolean;
  sent: boolean;
  readonly settle: (response: ResponseEnvelope) => void;
  readonly fail: (error: ThinpoolError) => void;
  readonly stream: StreamEnd | undefined;
}

export class Requests {
  readonly #link: Pick<Link, "send" | "distrust">;
  /** Of a call that says no other. */
  readonly timeoutMs: number;
  /** In the order of their ids. */
  readonly #waiting = new Map<number, Waiting>();
  /** By number, on this connection. What comes for one that is not there belongs to a call that has ended. */
  readonly #streams = new Map<number, StreamEnd>();
  /** Calls that wait for a place, in order. */
  readonly #queue: (() => void)[] = [];
  #ended: ((operation: string) => ThinpoolError) | undefined;
  #nextId = 1;

  constructor(link: Pick<Link, "send" | "distrust">, timeoutMs: number) {
    this.#link = link;
    this.timeoutMs = timeoutMs;
  }

  get inFlight(): number {
    return this.#waiting.size;
  }

  async call<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
    options: ChangeOptions = {},
    stream?: StreamEnd,
  ): Promise<MethodResult<M>> {
    const { changes } = methods[method];
    const { idempotencyKey } = options;
    const key = !changes || idempotencyKey === false ? undefined : (idempotencyKey ?? newKey());
    const ownMs = isLongMethod(method) ? NO_TIMEOUT_MS : this.timeoutMs;
    const deadline = performance.now() + (options.timeoutMs ?? ownMs);
    const survivesCut = !changes || key !== undefined;
    for (;;) {
      const id = this.#nextId;
      this.#nextId += 1;
      const text = encodeRequest(id, method, params, key);
      assertSendable(method, text);
      const timeoutMs = Math.max(1, deadline - performance.now());
      const request = { id, method, text, survivesCut, stream };
      const response = await this.#exchange(request, { timeoutMs, signal: options.signal });
      if ("error" in response) {
        const error = errorFromWire(response.error);
        const mayAgain = hasCode(error, "UNAVAILABLE") && performance.now() < deadline;
        if (!mayAgain) throw error;
        await sleep(UNAVAILABLE_PAUSE_MS);
        continue;
      }
      const result = parseResult(method, response.result);
      if (!result.ok) throw errorFromRefusal(method, result);
      return result.value;
    }
  }

  async #exchange(
    request: Pick<Waiting, "id" | "method" | "text" | "survivesCut" | "stream">,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<ResponseEnvelope> {
    const { id, method, text } = request;
    const context = { operation: method, object: "the request" };
    if (limits.signal?.aborted === true) {
      const { reason: cause } = limits.signal;
      throw clientError("ABORTED", { ...context, reason: "the signal was set before", cause });
    }
    const { promise, resolve, reject } = Promise.withResolvers<ResponseEnvelope>();
    let over = false;
    let place: (() => void) | undefined;
    const run = async (): Promise<ResponseEnvelope> => {
      // Between this look and taking the place nothing is awaited.
      while (this.#waiting.size >= MAX_REQUESTS_IN_FLIGHT) {
        const { promise: turn, resolve: begin } = Promise.withResolvers<undefined>();
        place = () => begin(undefined);
        this.#queueUp(method, place);
        await turn;
      }
      if (this.#ended !== undefined) throw this.#ended(method);
      if (over) {
        // Its place is the next one's.
        this.#queue.shift()?.();
        return promise;
      }
      const waiting = { ...request, sent: false, settle: resolve, fail: reject };
      this.#waiting.set(id, waiting);
      waiting.sent = this.#link.send(text);
      return promise;
    };
    let answered = false;
    try {
      const response = await within(run(), limits, context);
      answered = true;
      return response;
    } catch (error) {
      const unanswered = this.#waiting.get(id);
      // The daemon need not go on for nobody; it answers all the same, which finds nobody waiting.
      if (unanswered?.sent === true) {
        this.#link.send(encodeCancel(id));
        // What a stream has made is gone when the answer is there, unless all was done already: whoever is
        // told the one or the other can count on it.
        const late = request.stream && (await this.#woundUp(request.stream, promise));
        if (late !== undefined && "result" in late) {
          answered = true;
          return late;
        }
      }
      throw error;
    } finally {
      over = true;
      const at = place === undefined ? -1 : this.#queue.indexOf(place);
      if (at >= 0) this.#queue.splice(at, 1);
      if (!answered) {
        reject(clientError("ABORTED", { ...context, reason: "nobody waits for it any more" }));
        promise.catch(() => undefined);
      }
      for (const [number, end] of this.#streams) {
        if (end === request.stream) this.#streams.delete(number);
      }
      if (this.#waiting.delete(id)) this.#queue.shift()?.();
    }
  }

  /** Waits for the answer to a stream's request that was given up, a bounded time. Never rejects. */
  async #woundUp(
    stream: StreamEnd,
    answered: Promise<ResponseEnvelope>,
  ): Promise<ResponseEnvelope | undefined> {
    stream.cut();
    const { promise: tooLate, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), WIND_UP_TIMEOUT_MS);
    try {
      return await Promise.race([answered.catch(() => undefined), tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** `begin` is called when one of the requests in flight has ended, in the order of asking. */
  #queueUp(method: MethodName, begin: () => void): void {
    if (this.#ended !== undefined) throw this.#ended(method);
    if (this.#queue.length >= MAX_WAITING_CALLS) {
      const reason = `${MAX_WAITING_CALLS} calls wait for their turn already`;
      throw clientError("LIMIT", { operation: method, object: "the request", reason });
    }
    this.#queue.push(begin);
  }

  /** A message of the daemon. One that can't be read fails the one request that it answers, or the link. */
  receive(received: string | Uint8Array): void {
    if (typeof received !== "string") {
      const frame = parseStreamFrame(received);
      if (frame.ok) this.#streams.get(frame.value.stream)?.part(frame.value);
      else this.#link.distrust(errorFromRefusal("receive", frame));
      return;
    }
    const parsed = parseDaemonMessage(received);
    if (!parsed.ok) {
      const waiting = this.#waiting.get(Number(parsed.id ?? Number.NaN));
      if (waiting === undefined) this.#link.distrust(errorFromRefusal("receive", parsed));
      else waiting.fail(errorFromRefusal(waiting.method, parsed));
      return;
    }
    const message = parsed.value;
    if (message.type === "notification") {
      this.#notified(message.notification);
      return;
    }
    if (message.type === "unknown") return;
    const { response } = message;
    if (response.id === null) {
      const reason = "error" in response ? response.error.message : "an answer without an id";
      const context = { operation: "receive", object: "the daemon" };
      this.#link.distrust(clientError("PROTOCOL", { ...context, reason }));
      return;
    }
    // An answer that nobody waits for any more belongs to a request that timed out or was aborted.
    this.#waiting.get(Number(response.id))?.settle(response);
  }

  #notified(notification: DaemonNotification): void {
    if (notification.method === "stream.opened") {
      const { id, stream: number } = notification.params;
      const end = this.#waiting.get(Number(id))?.stream;
      if (end === undefined) return;
      this.#streams.set(number, end);
      end.opened(notification.params, (data) => void this.#link.send(data));
    } else if (notification.method === "stream.window") {
      const { stream: number, taken, window } = notification.params;
      this.#streams.get(number)?.windowMoved({ taken: Number(taken), window: Number(window) });
    }
  }

  /** The connection is there again: what may be sent again goes first, in its old order. */
  up(): void {
    for (const waiting of this.#waiting.values()) waiting.sent = this.#link.send(waiting.text);
  }

  /** The connection was cut. */
  down(): void {
    for (const end of this.#streams.values()) end.cut();
    this.#streams.clear();
    for (const waiting of this.#waiting.values()) {
      if (!waiting.sent) continue;
      waiting.sent = false;
      if (waiting.survivesCut) continue;
      const reason = "the connection was cut before the answer came";
      waiting.fail(
        clientError("CONNECTION_LOST", { operation: waiting.method, object: "the daemon", reason }),
      );
    }
  }

  ended(failure: (operation: string) => ThinpoolError): void {
    this.#ended = failure;
    for (const waiting of this.#waiting.values()) waiting.fail(failure(waiting.method));
    for (const wake of this.#queue.splice(0)) wake();
  }
}

/** The daemon would say the same; said here it costs no round trip. */
function assertSendable(method: MethodName, text: string): void {
  const checked = parseRequest(text);
  if (checked.ok) return;
  const isDaemons = checked.code === "NAME_INVALID" || checked.code === "TOO_LARGE";
  throw clientError(isDaemons ? checked.code : "ARGUMENT_INVALID", {
    operation: method,
    object: "the request",
    reason: checked.reason,
  });
}
