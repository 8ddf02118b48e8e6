/**
 * The requests in flight on one connection. Each ends exactly once: by its answer, its time limit, its
 * signal, or the cut of the connection. Nothing is ever sent a second time.
 */
import type { MethodName, MethodParams, MethodResult, ResponseEnvelope } from "@thinpool/protocol";
import {
  MAX_REQUESTS_IN_FLIGHT,
  encodeRequest,
  parseRequest,
  parseResponse,
  parseResult,
} from "@thinpool/protocol";
import type { Connection } from "./connection.ts";
import type { ThinpoolError } from "./errors.ts";
import { clientError, errorFromRefusal, errorFromWire } from "./errors.ts";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Until the answer, in milliseconds; the client's own limit unless given. */
  readonly timeoutMs?: number | undefined;
}

interface Waiting {
  readonly method: MethodName;
  readonly settle: (response: ResponseEnvelope) => void;
  readonly fail: (error: ThinpoolError) => void;
}

export class Requests {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Set once the connection can't be used any more. */
  #ended: ((operation: string) => ThinpoolError) | undefined;
  #nextId = 1;

  constructor(connection: Connection, timeoutMs: number) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    connection.listen({
      message: (text) => this.#receive(text),
      lost: (reason) => this.#end("CONNECTION_LOST", reason),
    });
  }

  get inFlight(): number {
    return this.#waiting.size;
  }

  async call<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
    options: CallOptions = {},
  ): Promise<MethodResult<M>> {
    if (this.#ended !== undefined) throw this.#ended(method);
    const { signal, timeoutMs = this.#timeoutMs } = options;
    const context = { operation: method, object: "the request" };
    if (signal?.aborted === true) {
      const reason = "the signal was set before it was sent";
      throw clientError("ABORTED", { ...context, reason, cause: signal.reason });
    }
    if (this.#waiting.size >= MAX_REQUESTS_IN_FLIGHT) {
      const reason = `${MAX_REQUESTS_IN_FLIGHT} requests wait for their answers already`;
      throw clientError("LIMIT", { ...context, reason });
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const text = encodeRequest(id, method, params);
    // The daemon would say the same; said here it costs no round trip.
    const checked = parseRequest(text);
    if (!checked.ok) {
      const isName = checked.code === "NAME_INVALID" || checked.code === "TOO_LARGE";
      const code = isName ? checked.code : "ARGUMENT_INVALID";
      throw clientError(code, { ...context, reason: checked.reason });
    }
    const response = await this.#exchange(id, method, text, timeoutMs, signal);
    if ("error" in response) throw errorFromWire(response.error);
    const result = parseResult(method, response.result);
    if (!result.ok) throw errorFromRefusal(method, result);
    return result.value;
  }

  async #exchange(
    id: number,
    method: MethodName,
    text: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<ResponseEnvelope> {
    const { promise, resolve, reject } = Promise.withResolvers<ResponseEnvelope>();
    const context = { operation: method, object: "the request" };
    const timer = setTimeout(() => {
      reject(clientError("TIMEOUT", { ...context, reason: `no answer within ${timeoutMs} ms` }));
    }, timeoutMs);
    const onAbort = (): void => {
      reject(
        clientError("ABORTED", { ...context, reason: "the signal was set", cause: signal?.reason }),
      );
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiting.set(id, { method, settle: resolve, fail: reject });
    try {
      this.#connection.send(text);
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#waiting.delete(id);
    }
  }

  /** Cuts the connection; whoever still waits gets CLIENT_CLOSED. */
  async close(timeoutMs: number): Promise<void> {
    this.#end("CLIENT_CLOSED", "the client was closed");
    await this.#connection.close(timeoutMs);
  }

  #receive(text: string): void {
    const parsed = parseResponse(text);
    if (!parsed.ok) {
      // Only the one request that it can be matched with fails; without an id none can be trusted.
      if (typeof parsed.id === "number" && this.#waiting.has(parsed.id)) {
        const waiting = this.#waiting.get(parsed.id);
        waiting?.fail(errorFromRefusal(waiting.method, parsed));
      } else {
        this.#end("PROTOCOL", parsed.reason);
      }
      return;
    }
    const { id } = parsed.value;
    if (id === null) {
      const reason =
        "error" in parsed.value ? parsed.value.error.message : "an answer without an id";
      this.#end("PROTOCOL", reason);
      return;
    }
    // An answer that nobody waits for any more belongs to a request that timed out or was aborted.
    if (typeof id === "number") this.#waiting.get(id)?.settle(parsed.value);
  }

  #end(code: "CONNECTION_LOST" | "CLIENT_CLOSED" | "PROTOCOL", reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = (operation) => clientError(code, { operation, object: "the daemon", reason });
    for (const waiting of this.#waiting.values()) waiting.fail(this.#ended(waiting.method));
    this.#waiting.clear();
  }
}
