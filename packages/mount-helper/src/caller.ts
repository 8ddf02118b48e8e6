/** Who makes a call, and over what. */
import type { PeerProcess } from "@thinpool/thinpool";
import type { RequestError } from "./errors.ts";
import type { TransferOutcome, TransferWish } from "./server/channel.ts";
import type { Principal } from "./policy/policy.ts";

/** The process without privileges that serves the caller, and does for him what takes reading a stream. */
export interface CallerWorker {
  /** As whom it reads and writes files: the caller, or, for root, an account of nobody's. */
  readonly identity: { readonly uid: number; readonly gid: number };
  /**
   * Unpacks or packs the call's stream, and resolves when all its files are closed. Rejects with
   * RequestError: what became of it, LIMIT, STREAM_LOST where the worker is gone. `signal`: it is given up.
   */
  transfer(
    wish: TransferWish,
    signal: AbortSignal,
  ): Promise<Extract<TransferOutcome, { readonly ok: true }>>;
}

export interface Caller {
  readonly principal: Principal;
  /** The process that made the connection; undefined where it is not known beyond its number. */
  readonly peer?: PeerProcess | undefined;
  /** Undefined where a call comes from nobody's connection: in tests. */
  readonly worker?: CallerWorker | undefined;
  /** The token by which the connection was made, over TCP; undefined: it is a local one. */
  readonly token?: string | undefined;
  /** Which connection the call came by. */
  readonly connection: number;
  /**
   * Set when the client gives the call up, or is gone, or the call has had its time. What can stop half
   * way safely, may.
   */
  readonly signal: AbortSignal;
  /** Sets the signal. */
  readonly giveUp: (reason: RequestError) => void;
}
