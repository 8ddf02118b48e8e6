/**
 * The client's connection as something that lasts: cut, it is made again with backoff, and the session
 * is resumed. Its listener hears of each state; requests are its listener's matter.
 */
import { CLOSE_UNAUTHORIZED } from "@thinpool/protocol";
import type { Hello } from "@thinpool/protocol";
import type { Connection, Dialler } from "./connection.ts";
import { ThinpoolError, clientError, hasCode } from "./errors.ts";
import type { Handshake, Session } from "./handshake.ts";
import { shakeHands } from "./handshake.ts";
import { Pulse } from "./pulse.ts";
import { idle } from "./wait.ts";

/** The first attempt comes at once, the second after this, each further one after twice as long. */
export const BACKOFF_FIRST_MS = 50;
export const BACKOFF_MAX_MS = 5_000;
/** Attempts spread by this share of their wait, so that a hundred clients do not come in step. */
const BACKOFF_JITTER = 0.5;

export type ClientState =
  | "connected"
  /** Cut; calls wait. */
  | "reconnecting"
  /** The session is gone, or the daemon did not come back in time: connect anew. */
  | "gone"
  /** By `close`. */
  | "closed";

export interface LinkListener {
  up(): void;
  /** A message of the daemon, as it came. */
  receive(message: string | Uint8Array): void;
  down(): void;
  /** For good: every call from now on fails with this. */
  ended(failure: (operation: string) => ThinpoolError): void;
  state(state: ClientState, reason: string): void;
  /** Whether something would be lost with the session. */
  holdsSession(): boolean;
}

export interface LinkOptions {
  readonly dialler: Dialler;
  /** For one attempt, its handshake included. */
  readonly timeoutMs: number;
  /** From a cut until it is given up. */
  readonly reconnectTimeoutMs: number;
  readonly listener: LinkListener;
}

export class Link {
  readonly #options: LinkOptions;
  #connection: Connection | undefined;
  #session: Session | undefined;
  #hello: Hello | undefined;
  #pulse: Pulse | undefined;
  #state: ClientState = "reconnecting";
  /** Set with the end: an attempt to connect ends then, too. */
  readonly #over = new AbortController();

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** What the daemon said of itself at the last connect. */
  get hello(): Hello {
    if (this.#hello === undefined) throw new Error("the link was never opened");
    return this.#hello;
  }

  /** The first connection; no second attempt. */
  async open(signal: AbortSignal | undefined): Promise<void> {
    await this.#connect(this.#options.timeoutMs, signal);
    this.#enter("connected", "the daemon answered");
  }

  /** False where there is no connection now. */
  send(data: string | Uint8Array<ArrayBuffer>): boolean {
    if (this.#state !== "connected" || this.#connection === undefined) return false;
    this.#connection.send(data);
    return true;
  }

  /** What the daemon sent breaks the protocol: nothing after it can be trusted. */
  distrust(error: ThinpoolError): void {
    this.#connection?.cut(error.message);
    this.#end("gone", error.message, () => error);
  }

  async close(timeoutMs: number): Promise<void> {
    const connection = this.#connection;
    const reason = "the client was closed";
    this.#end("closed", reason, (operation) =>
      clientError("CLIENT_CLOSED", { operation, object: this.#options.dialler.address, reason }),
    );
    await connection?.close(timeoutMs);
  }

  async #connect(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { dialler } = this.#options;
    const { address } = dialler;
    const connection = await dialler.dial({ timeoutMs, signal });
    let made: Handshake;
    try {
      made = await shakeHands(connection, { address, resume: this.#session, timeoutMs, signal });
    } catch (error) {
      connection.cut("the handshake failed");
      throw error;
    }
    if (this.#isOver()) {
      connection.cut("the client was closed meanwhile");
      return;
    }
    if (!made.resumed && this.#options.listener.holdsSession()) {
      connection.cut("the session is gone");
      const reason = "what it held was released meanwhile";
      this.#end("gone", "the session is gone", (operation) =>
        clientError("SESSION_GONE", { operation, object: address, reason }),
      );
      return;
    }
    this.#session = made.session;
    this.#hello = made.hello;
    this.#adopt(connection, made.hello.limits.heartbeatIntervalMs);
  }

  #adopt(connection: Connection, heartbeatIntervalMs: number): void {
    this.#connection = connection;
    const pulse = connection.hearsPings
      ? new Pulse(heartbeatIntervalMs, () => connection.cut("the daemon is silent"))
      : undefined;
    this.#pulse = pulse;
    connection.listen({
      message: (message) => {
        pulse?.beat();
        this.#options.listener.receive(message);
      },
      ping: () => pulse?.beat(),
      lost: (reason, code) => {
        pulse?.stop();
        if (this.#connection === connection) this.#lost(reason, code);
      },
    });
  }

  #lost(reason: string, code: number | undefined): void {
    this.#connection = undefined;
    if (this.#isOver()) return;
    if (code === CLOSE_UNAUTHORIZED) {
      const object = this.#options.dialler.address;
      this.#end("gone", reason, (operation) =>
        clientError("UNAUTHORIZED", { operation, object, reason }),
      );
      return;
    }
    this.#enter("reconnecting", reason);
    this.#options.listener.down();
    void this.#reconnect(reason);
  }

  /** Never rejects. */
  async #reconnect(cut: string): Promise<void> {
    const { reconnectTimeoutMs, timeoutMs, dialler } = this.#options;
    const deadline = performance.now() + reconnectTimeoutMs;
    let waitMs = 0;
    let last = cut;
    for (;;) {
      // Whoever waits for an answer has a time limit, which keeps the program alive.
      await idle(waitMs * (1 - BACKOFF_JITTER * Math.random()));
      if (this.#isOver()) return;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) break;
      try {
        await this.#connect(Math.max(1, Math.min(timeoutMs, leftMs)), this.#over.signal);
        if (this.#connection !== undefined) {
          this.#enter("connected", "the daemon answered again");
          this.#options.listener.up();
        }
        // Else it has ended meanwhile, by `close` or with its session.
        return;
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
        if (hasCode(error, "UNAUTHORIZED") || hasCode(error, "TLS_FAILED")) {
          this.#end("gone", last, () => error);
          return;
        }
        if (error instanceof ThinpoolError && error.code === "PROTOCOL") break;
      }
      waitMs = Math.min(BACKOFF_MAX_MS, Math.max(BACKOFF_FIRST_MS, waitMs * 2));
    }
    this.#end("gone", last, (operation) =>
      clientError("CONNECTION_LOST", { operation, object: dialler.address, reason: last }),
    );
  }

  #isOver(): boolean {
    return this.#state === "closed" || this.#state === "gone";
  }

  #end(
    state: "gone" | "closed",
    reason: string,
    failure: (operation: string) => ThinpoolError,
  ): void {
    this.#pulse?.stop();
    this.#connection = undefined;
    if (this.#isOver()) return;
    this.#over.abort();
    this.#enter(state, reason);
    this.#options.listener.ended(failure);
  }

  #enter(state: ClientState, reason: string): void {
    this.#state = state;
    this.#options.listener.state(state, reason);
  }
}
