/** Who makes a call, and over what. */
import type { Principal } from "./policy/policy.ts";

export interface Caller {
  readonly principal: Principal;
  /** Which connection the call came by. */
  readonly connection: number;
  /** Set when the client gives the call up, or is gone. What can stop half way safely, may. */
  readonly signal: AbortSignal;
}
