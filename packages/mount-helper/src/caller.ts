/** Who makes a call, and over what. */
import type { PeerProcess } from "@thinpool/thinpool";
import type { RequestError } from "./errors.ts";
import type { Principal } from "./policy/policy.ts";

export interface Caller {
  readonly principal: Principal;
  /** The process that made the connection; undefined where it is not known beyond its number. */
  readonly peer?: PeerProcess | undefined;
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
