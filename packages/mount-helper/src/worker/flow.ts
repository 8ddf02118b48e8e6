/** What both directions have in common: the connection of now, its absence, standing still, failing. */
import { STREAM_IDLE_MS } from "@thinpool/protocol";
import { RequestError } from "../errors.ts";
import { SESSION_GRACE_MS } from "../references/sessions.ts";
import type { TransferOutcome } from "../server/channel.ts";
import type { StreamPort } from "./stream-port.ts";

export interface FlowTimes {
  /** From a cut until the stream is given up. */
  readonly graceMs: number;
  /** Until a client that neither sends nor takes, though it could, is given up. */
  readonly idleMs: number;
}

export const FLOW_TIMES: FlowTimes = { graceMs: SESSION_GRACE_MS, idleMs: STREAM_IDLE_MS };

export type Done = Extract<TransferOutcome, { readonly ok: true }>;

export function streamError(
  code: "STREAM_LOST" | "CANCELLED" | "TIMEOUT" | "INVALID_REQUEST" | "CHECKSUM_MISMATCH",
  reason: string,
): RequestError {
  return new RequestError({ code, operation: "stream", object: "the stream", reason });
}

export abstract class FlowBase {
  readonly #times: FlowTimes;
  #timer: NodeJS.Timeout | undefined;
  #port: StreamPort | undefined;
  #failure: Error | undefined;
  #wake = Promise.withResolvers<undefined>();
  #over = false;

  constructor(times: FlowTimes) {
    this.#times = times;
  }

  /** Whether it is the client's turn to do something. */
  protected abstract waitsForClient(): boolean;
  /** Says where it is to a connection that has just come. */
  protected abstract greet(port: StreamPort): void;

  protected get port(): StreamPort | undefined {
    return this.#port;
  }

  attach(port: StreamPort): void {
    this.#port?.close();
    this.#port = port;
    this.greet(port);
    this.stir();
  }

  detach(): void {
    this.#port = undefined;
    if (this.#over) return;
    clearTimeout(this.#timer);
    const { graceMs } = this.#times;
    const reason = `its connection was cut, and none came to take it up within ${graceMs} ms`;
    this.#timer = setTimeout(() => this.fail(streamError("STREAM_LOST", reason)), graceMs);
  }

  fail(error: Error): void {
    this.#failure ??= error;
    this.changed();
  }

  /** The client has done something. */
  protected stir(): void {
    if (this.#over || this.#port === undefined) return;
    clearTimeout(this.#timer);
    const { idleMs } = this.#times;
    this.#timer = setTimeout(() => {
      if (!this.waitsForClient()) this.stir();
      else this.fail(streamError("TIMEOUT", `the client did nothing for ${idleMs} ms`));
    }, idleMs);
  }

  /** Whoever waits in `until` looks again. */
  protected changed(): void {
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers();
  }

  /** Waits for the condition; rejects with the stream's failure. */
  protected async until(condition: () => boolean): Promise<void> {
    for (;;) {
      this.check();
      if (condition()) return;
      await this.#wake.promise;
    }
  }

  protected check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Whatever became of it. */
  protected end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#port?.close();
    this.#port = undefined;
  }
}
