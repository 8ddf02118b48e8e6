/**
 * The half of the daemon that has the privileges: who each connection is from, which front serves it,
 * and what becomes of each request. A front is believed in one thing only: that what it sends comes
 * from its own uid.
 */
import type { Socket } from "node:net";
import {
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_PER_UID,
  MAX_REQUESTS_IN_FLIGHT,
  checkRequest,
  encodeFailure,
  errorObjectOf,
} from "@thinpool/protocol";
import type { KnownRequest, RequestId } from "@thinpool/protocol";
import type { PeerProcess } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import { callSha256 } from "../idempotency/call-identity.ts";
import type { Dispatcher } from "../dispatch.ts";
import { BoundedLines } from "../bounded-lines.ts";
import type { LogFields, LogLevel, Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import type { BackPort, FrontPort, ToBack, TransferOutcome, TransferWish } from "./channel.ts";
import { checkToBack } from "./channel.ts";
import type { Limits } from "../policy/rights.ts";
import { RequestMeter } from "./request-meter.ts";
import { refuseConnection } from "./refuse-connection.ts";

/** RFC 6455, section 7.4.1. */
const CLOSE_GOING_AWAY = 1001;
/** Fronts at once, and so uids that are connected. At the limit an idle one makes room, else the client is refused. */
export const MAX_FRONTS = 64;
/** A front without connections ends after this long. */
export const FRONT_IDLE_MS = 30_000;
/** How long clients may take for the closing handshake when the daemon stops. */
const GOODBYE_TIMEOUT_MS = 1_000;
const GOODBYE_CHECK_MS = 5;
/** A front whose user asks more often than he may is not read for so long: what it has piles up on its side. */
const OVERLOAD_REST_MS = 50;
/** Streams of one user that are on their way at once. */
export const MAX_TRANSFERS_PER_UID = 8;
/** Lines that one connection's front may write into the log; further ones are dropped. */
export const MAX_NOTES_PER_CONNECTION = 32;

/** Lines about one user's connections, and of his front's; further ones are counted. */
export const LINES_PER_SECOND = 100;
/** The same about connections that were refused, of all users. */
export const REFUSALS_LOGGED_PER_SECOND = 10;

/** Makes the front of a principal's uid; throws where there can be none now. */
export type OpenFront = (principal: Principal, back: BackPort) => FrontPort;

/** Told of each connection whose handshake is over, and of its end. */
export interface ConnectionWatch {
  opened(principal: Principal, connection: number): void;
  closed(connection: number): void;
}

type FromConnection = Exclude<ToBack, { readonly type: "transferred" }>;

export interface BackParts {
  readonly dispatcher: Pick<Dispatcher, "answer">;
  readonly watch: ConnectionWatch;
  readonly openFront: OpenFront;
  /** What the policy lets a user have of requests. */
  readonly limitsOf: (principal: Principal) => RequestLimits;
  /** After how long a front without connections ends; default: FRONT_IDLE_MS. */
  readonly idleMs?: number;
  readonly logger: Logger;
}

export type RequestLimits = Pick<Limits, "requestsInFlight" | "requestsPerSecond">;

/** What is known of a connection beyond whose it is. */
export interface Origin {
  /** Its client's process; of a local one. */
  readonly peer?: PeerProcess | undefined;
  /** By what it was let in; of one over TCP. */
  readonly token?: string | undefined;
  /** Called once, when it is over; also where it was refused. */
  readonly ended?: () => void;
}

/** One client's connection, as the back knows it. */
interface Connection {
  readonly number: number;
  readonly principal: Principal;
  readonly origin: Origin;
  readonly waiting: Map<RequestId, AbortController>;
  opened: boolean;
  /** Told to go away: nothing that it asks is done any more. */
  dismissed: boolean;
  /** The log has that it came. */
  logged: boolean;
  notes: number;
}

export class Back {
  readonly #parts: BackParts;
  /** By uid. */
  readonly #fronts = new Map<number, UidFront>();
  readonly #refusals = new BoundedLines(REFUSALS_LOGGED_PER_SECOND);
  #nextConnection = 1;

  constructor(parts: BackParts) {
    this.#parts = parts;
  }

  get connectionCount(): number {
    let count = 0;
    for (const front of this.#fronts.values()) count += front.size;
    return count;
  }

  /** Fronts at this moment, one for each user that is connected. */
  get workerCount(): number {
    return this.#fronts.size;
  }

  /**
   * Takes an accepted connection, of which nothing was read, and its origin, over. Never throws. Its
   * number; undefined where it was refused.
   */
  accept(principal: Principal, socket: Socket, origin: Origin = {}): number | undefined {
    const { uid, pid } = principal;
    const own = this.#fronts.get(uid)?.size ?? 0;
    if (this.connectionCount >= MAX_CONNECTIONS || own >= MAX_CONNECTIONS_PER_UID) {
      this.#refused("warn", "too-many-connections", { uid, pid, own });
      refuseConnection(socket, "503 Service Unavailable", "There are too many connections.");
      end(origin);
      return undefined;
    }
    let front: UidFront;
    try {
      front = this.#frontOf(principal);
    } catch (error) {
      this.#refused("error", "no-worker", { uid, pid, error: errorText(error) });
      refuseConnection(socket, "503 Service Unavailable", "The daemon has no worker for you now.");
      end(origin);
      return undefined;
    }
    const number = this.#nextConnection;
    this.#nextConnection += 1;
    front.adopt({ number, principal, origin }, socket);
    return number;
  }

  /** Tells one client to go; from now on nothing that it asks is done. */
  dismiss(connection: number, code: number, reason: string): void {
    for (const front of this.#fronts.values()) front.dismiss(connection, code, reason);
  }

  /** Sends a whole message to one client; false where it is not connected any more. */
  push(connection: number, text: string): boolean {
    for (const front of this.#fronts.values()) {
      if (front.push(connection, text)) return true;
    }
    return false;
  }

  /** Says goodbye to all, and cuts those that do not answer. */
  async close(): Promise<void> {
    for (const front of this.#fronts.values()) front.goAway();
    const deadline = performance.now() + GOODBYE_TIMEOUT_MS;
    while (this.connectionCount > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, GOODBYE_CHECK_MS));
    }
    for (const front of this.#fronts.values()) front.end();
  }

  #refused(level: LogLevel, event: string, fields: LogFields): void {
    const bounded = this.#refusals.take(performance.now());
    if (bounded !== undefined) this.#parts.logger.log(level, event, { ...fields, ...bounded });
  }

  /** Ends a front that has no connection; throws where there is none. */
  #makeRoom(): void {
    const idle = Array.from(this.#fronts.values()).find(({ size }) => size === 0);
    if (idle === undefined) throw new Error(`${MAX_FRONTS} users are connected already`);
    idle.end();
  }

  #frontOf(principal: Principal): UidFront {
    const { uid } = principal;
    const present = this.#fronts.get(uid);
    if (present !== undefined) return present;
    const gone = (front: UidFront): void => {
      if (this.#fronts.get(uid) === front) this.#fronts.delete(uid);
    };
    if (this.#fronts.size >= MAX_FRONTS) this.#makeRoom();
    const front = new UidFront(this.#parts, principal, gone);
    this.#fronts.set(uid, front);
    return front;
  }
}

/** The front that serves one uid, and the connections it has been given. */
class UidFront implements BackPort {
  readonly #parts: BackParts;
  readonly #uid: number;
  readonly #gone: (front: UidFront) => void;
  readonly #port: FrontPort;
  readonly #connections = new Map<number, Connection>();
  readonly #meter = new RequestMeter();
  readonly #lines = new BoundedLines(LINES_PER_SECOND);
  /** By number: who waits for what becomes of them. */
  readonly #transfers = new Map<number, PromiseWithResolvers<TransferOutcome>>();
  #nextTransfer = 1;
  #inFlight = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(parts: BackParts, principal: Principal, gone: (front: UidFront) => void) {
    this.#parts = parts;
    this.#uid = principal.uid;
    this.#gone = gone;
    this.#port = parts.openFront(principal, this);
  }

  get size(): number {
    return this.#connections.size;
  }

  adopt(whose: Pick<Connection, "number" | "principal" | "origin">, socket: Socket): void {
    clearTimeout(this.#idle);
    const { number } = whose;
    const waiting = new Map<RequestId, AbortController>();
    const fresh = { waiting, opened: false, dismissed: false, logged: false, notes: 0 };
    this.#connections.set(number, { ...whose, ...fresh });
    this.#port.adopt(number, socket);
  }

  push(connection: number, text: string): boolean {
    if (this.#connections.get(connection)?.opened !== true) return false;
    this.#port.send({ type: "push", connection, text });
    return true;
  }

  dismiss(number: number, code: number, reason: string): void {
    const connection = this.#connections.get(number);
    if (connection === undefined) return;
    connection.dismissed = true;
    for (const canceller of connection.waiting.values()) canceller.abort();
    this.#port.send({ type: "close", connection: number, code, reason });
  }

  goAway(): void {
    const reason = "the daemon is stopping";
    for (const connection of this.#connections.keys()) {
      this.#port.send({ type: "close", connection, code: CLOSE_GOING_AWAY, reason });
    }
  }

  end(): void {
    this.#port.end();
  }

  receive(message: unknown): void {
    const checked = checkToBack(message);
    if (checked === undefined) {
      this.#misbehaves("a message that is none");
      return;
    }
    if (checked.type === "transferred") {
      this.#transferred(checked.transfer, checked.outcome);
      return;
    }
    const connection = this.#connections.get(checked.connection);
    if (connection === undefined) {
      this.#misbehaves(`a message about connection ${checked.connection}, which it does not have`);
      return;
    }
    this.#handle(checked, connection);
  }

  lost(reason: string): void {
    this.#gone(this);
    for (const [number, { resolve }] of this.#transfers) {
      this.#transfers.delete(number);
      resolve({
        ok: false,
        code: "STREAM_LOST",
        object: "the stream",
        reason: "the process that served it has ended",
      });
    }
    for (const connection of this.#connections.values()) this.#forget(connection, reason);
    clearTimeout(this.#idle);
  }

  #handle(message: FromConnection, connection: Connection): void {
    switch (message.type) {
      case "opened":
        this.#open(connection);
        return;
      case "request":
        this.#request(message, connection);
        return;
      case "cancel":
        this.#count(connection.principal);
        connection.waiting.get(message.id)?.abort();
        return;
      case "note":
        this.#count(connection.principal);
        this.#note(message, connection);
        return;
      case "closed":
        this.#forget(connection, `code ${message.code}`);
    }
  }

  #open(connection: Connection): void {
    if (connection.opened) {
      this.#misbehaves("a connection opened twice");
      return;
    }
    connection.opened = true;
    const { uid, pid } = connection.principal;
    const { token } = connection.origin;
    const fields = { connection: connection.number, uid, pid, token };
    connection.logged = this.#log("info", "connected", fields);
    this.#parts.watch.opened(connection.principal, connection.number);
  }

  #request(message: ToBack & { type: "request" }, connection: Connection): void {
    const { id, method, params } = message;
    const request = checkRequest({ id, method, params });
    if (!request.ok || !connection.opened) {
      this.#misbehaves(request.ok ? "a request before opened" : `a bad request: ${request.reason}`);
      return;
    }
    if (connection.waiting.size >= MAX_REQUESTS_IN_FLIGHT || connection.waiting.has(id)) {
      this.#misbehaves("more requests at once than the protocol allows");
      return;
    }
    if (connection.dismissed) return;
    const refusal = this.#refusal(connection.principal);
    if (refusal === undefined) void this.#serve(request.value, connection);
    else this.#refuse(connection.number, request.value, refusal);
  }

  /** Over one of the user's limits: which; undefined: within both. */
  #refusal(principal: Principal): string | undefined {
    const { requestsInFlight, requestsPerSecond } = this.#parts.limitsOf(principal);
    // What is refused counts, too: it is read and answered.
    if (!this.#count(principal)) return `you may ask ${requestsPerSecond} times a second`;
    if (this.#inFlight < requestsInFlight) return undefined;
    return `${requestsInFlight} requests of yours wait for their answers already`;
  }

  /** One more message of the user's. False where that is more often than he may: then a while nothing is read. */
  #count(principal: Principal): boolean {
    const { requestsPerSecond } = this.#parts.limitsOf(principal);
    if (this.#meter.take(requestsPerSecond, performance.now())) return true;
    this.#port.rest(OVERLOAD_REST_MS);
    return false;
  }

  #refuse(connection: number, { id, method }: KnownRequest, reason: string): void {
    const error = errorObjectOf({
      code: "LIMIT",
      operation: method,
      object: "the request",
      reason,
    });
    this.#port.send({ type: "answer", connection, id, text: encodeFailure(id, error) });
  }

  /** Never rejects: the dispatcher answers everything. */
  async #serve(request: KnownRequest, connection: Connection): Promise<void> {
    const { number, principal, origin, waiting } = connection;
    const { peer, token } = origin;
    const canceller = new AbortController();
    waiting.set(request.id, canceller);
    this.#inFlight += 1;
    const caller = {
      principal,
      peer,
      token,
      connection: number,
      signal: canceller.signal,
      worker: {
        identity: this.#port.identity,
        transfer: (wish: TransferWish, signal: AbortSignal) =>
          this.#transfer(request, number, wish, signal),
      },
      giveUp: (reason: RequestError) => canceller.abort(reason),
    };
    const text = await this.#parts.dispatcher.answer(request, caller);
    waiting.delete(request.id);
    this.#inFlight -= 1;
    if (!this.#connections.has(number)) return;
    this.#port.send({ type: "answer", connection: number, id: request.id, text });
  }

  async #transfer(
    request: KnownRequest,
    connection: number,
    wish: TransferWish,
    signal: AbortSignal,
  ): Promise<Extract<TransferOutcome, { readonly ok: true }>> {
    const { id, key, method: operation } = request;
    if (this.#transfers.size >= MAX_TRANSFERS_PER_UID) {
      const reason = `${MAX_TRANSFERS_PER_UID} streams of yours are on their way already`;
      throw new RequestError({ code: "LIMIT", operation, object: "the stream", reason });
    }
    const transfer = this.#nextTransfer;
    this.#nextTransfer += 1;
    const waiting = Promise.withResolvers<TransferOutcome>();
    this.#transfers.set(transfer, waiting);
    const withdraw = (): void => this.#port.send({ type: "withdraw", transfer });
    const about = { connection, id, key, callSha256: callSha256(request), transfer };
    this.#port.send({ type: "transfer", ...about, ...wish });
    signal.addEventListener("abort", withdraw, { once: true });
    if (signal.aborted) withdraw();
    const outcome = await waiting.promise;
    signal.removeEventListener("abort", withdraw);
    if (outcome.ok) return outcome;
    throw new RequestError({ ...outcome, operation });
  }

  #transferred(number: number, outcome: TransferOutcome): void {
    const waiting = this.#transfers.get(number);
    if (waiting === undefined) {
      this.#misbehaves(`a message about transfer ${number}, which it does not have`);
      return;
    }
    this.#transfers.delete(number);
    waiting.resolve(outcome);
  }

  #note({ event, reason }: ToBack & { type: "note" }, connection: Connection): void {
    connection.notes += 1;
    if (connection.notes > MAX_NOTES_PER_CONNECTION) return;
    const { number, principal } = connection;
    const fields = { connection: number, uid: principal.uid, reason };
    this.#log("warn", event, fields);
  }

  /** False where there were too many lines. */
  #log(level: LogLevel, event: string, fields: LogFields): boolean {
    const bounded = this.#lines.take(performance.now());
    if (bounded !== undefined) this.#parts.logger.log(level, event, { ...fields, ...bounded });
    return bounded !== undefined;
  }

  /** What still runs for it goes on, unless it can be cancelled; nobody waits for the answer. */
  #forget(connection: Connection, reason: string): void {
    const { number, principal, origin, waiting, opened } = connection;
    this.#connections.delete(number);
    end(origin);
    for (const canceller of waiting.values()) canceller.abort();
    if (this.#connections.size === 0) {
      clearTimeout(this.#idle);
      this.#idle = setTimeout(() => this.end(), this.#parts.idleMs ?? FRONT_IDLE_MS);
      this.#idle.unref();
    }
    if (!opened) return;
    const fields = { connection: number, uid: principal.uid, reason };
    if (connection.logged) this.#parts.logger.log("info", "disconnected", fields);
    this.#parts.watch.closed(number);
  }

  /** Our own front never does this: it has been taken over, or is broken. */
  #misbehaves(reason: string): void {
    this.#parts.logger.log("error", "worker-misbehaves", { uid: this.#uid, reason });
    this.#port.end(reason);
  }
}

function end({ peer, ended }: Origin): void {
  peer?.close();
  ended?.();
}
