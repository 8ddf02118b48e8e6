/**
 * Who comes in over TCP: the daemon's side. A token stands for one local user; its bearer gets a
 * connection of that user's, as if he had made it on this machine, for as long as the token holds.
 */
import { Socket } from "node:net";
import { CLOSE_UNAUTHORIZED } from "@thinpool/protocol";
import { socketPair } from "@thinpool/thinpool";
import { idsOf } from "../accounts.ts";
import type { Logger } from "../log.ts";
import type { Access } from "../policy/access.ts";
import type { RightsBook } from "../policy/rights-book.ts";
import type { Back } from "../server/back.ts";
import { RequestMeter } from "../server/request-meter.ts";
import { DISMISSAL_MS, NOTES_PER_SECOND, TOKEN_CHECK_INTERVAL_MS } from "./limits.ts";
import type { NoteReason } from "./messages.ts";

export interface RemoteAccessParts {
  readonly book: Pick<RightsBook, "connectTokenOf" | "connectTokenById">;
  readonly access: Pick<Access, "decide">;
  readonly back: Pick<Back, "accept" | "dismiss">;
  readonly logger: Logger;
  /** The fronts are in this process, and so read the sockets here. */
  readonly frontsAreHere: boolean;
}

/** Let in by a token. */
interface Guest {
  readonly token: string;
  /** Undefined: not known yet, or refused. */
  connection: number | undefined;
  readonly cut: () => void;
  dismissal: NodeJS.Timeout | undefined;
}

export class RemoteAccess {
  readonly #parts: RemoteAccessParts;
  readonly #guests = new Set<Guest>();
  readonly #notes = new RequestMeter();
  readonly #check: NodeJS.Timeout;
  #unlogged = 0;

  constructor(parts: RemoteAccessParts) {
    this.#parts = parts;
    this.#check = setInterval(() => this.endStale(), TOKEN_CHECK_INTERVAL_MS);
    this.#check.unref();
  }

  /**
   * The descriptor of the client's end of a new connection; the caller closes it. Undefined where the
   * token is none, or no longer one. `cut` ends the connection on the client's side.
   */
  async admit(secret: string, address: string, cut: () => void): Promise<number | undefined> {
    const { book, access } = this.#parts;
    const token = book.connectTokenOf(secret);
    if (token === undefined) {
      this.#refused(address, "unknown token");
      return undefined;
    }
    const { id, uid, creatorUid } = token;
    const principal = { ...(await idsOf(uid)), pid: NO_PROCESS };
    // Root's tokens hold whatever the policy says; who made his own must still be one who may.
    const allowed = creatorUid === 0 || access.decide(principal, "connect", undefined).allowed;
    if (!allowed || book.connectTokenById(id) === undefined) {
      this.#refused(address, allowed ? "the token has ended" : "the policy", id);
      return undefined;
    }
    const [own, theirs] = socketPair();
    const guest: Guest = { token: id, connection: undefined, cut, dismissal: undefined };
    this.#guests.add(guest);
    const ended = (): void => {
      clearTimeout(guest.dismissal);
      this.#guests.delete(guest);
    };
    // Not readable: what comes is for the worker, to whom the socket goes, and stays in the kernel.
    const readable = this.#parts.frontsAreHere;
    const socket = new Socket({ fd: own, readable, writable: true, allowHalfOpen: true });
    guest.connection = this.#parts.back.accept(principal, socket, { token: id, ended });
    this.#parts.logger.log("info", "tcp-admitted", {
      connection: guest.connection,
      uid,
      token: id,
      address,
    });
    return theirs;
  }

  /** Somebody was not let in. */
  note(reason: NoteReason, address: string): void {
    this.#refused(address, reason);
  }

  /** Ends the connections whose tokens have expired or were revoked. */
  endStale(): void {
    const { book, back, logger } = this.#parts;
    for (const guest of this.#guests) {
      const { token, connection, dismissal } = guest;
      if (dismissal !== undefined || book.connectTokenById(token) !== undefined) continue;
      logger.log("info", "tcp-dismissed", { connection, token });
      if (connection !== undefined) back.dismiss(connection, CLOSE_UNAUTHORIZED, TOKEN_ENDED);
      guest.dismissal = setTimeout(guest.cut, DISMISSAL_MS);
    }
  }

  close(): void {
    clearInterval(this.#check);
    for (const { dismissal } of this.#guests) clearTimeout(dismissal);
  }

  /** Whoever can reach the port can make such lines: so many a second, the rest is counted. */
  #refused(address: string, reason: string, token?: string): void {
    if (!this.#notes.take(NOTES_PER_SECOND, performance.now())) {
      this.#unlogged += 1;
      return;
    }
    const unlogged = this.#unlogged === 0 ? undefined : this.#unlogged;
    this.#unlogged = 0;
    this.#parts.logger.log("warn", "tcp-refused", { address, reason, token, unlogged });
  }
}

/** The client's process is on another machine. */
const NO_PROCESS = 0;
const TOKEN_ENDED = "the token has ended";
