/** What a handler is: called once the policy has let the caller. */
import type { MethodName, MethodParams, MethodResult } from "@thinpool/protocol";
import type { Device, ThinPool } from "@thinpool/thinpool";
import type { Caller } from "../caller.ts";
import type { RulesFor } from "../mounts/rules.ts";
import type { Access } from "../policy/access.ts";
import type { Principal } from "../policy/policy.ts";
import type { RightsBook } from "../policy/rights-book.ts";
import type { Ephemerals } from "../references/ephemerals.ts";
import type { MountService } from "../references/mount-service.ts";
import type { Sessions } from "../references/sessions.ts";

/** The call itself, beyond who asks for what. */
export interface CallContext extends Caller {
  /**
   * The uuid of what this call makes: random, or, for a call with an idempotency key, always the same
   * one, so that what it made can be found again (INV-31).
   */
  readonly newUuid: () => string;
}

export type Handlers = {
  readonly [M in MethodName]: (
    params: MethodParams<M>,
    principal: Principal,
    call: CallContext,
  ) => Promise<MethodResult<M>>;
};

/** The handlers of one topic: `Topic<"device">` has all methods that begin with "device.". */
export type Topic<T extends string> = Pick<Handlers, Extract<MethodName, `${T}.${string}`>>;

/** What handlers work on. */
export interface HandlerParts {
  readonly pool: ThinPool;
  readonly mounts: MountService;
  readonly sessions: Sessions;
  readonly ephemerals: Ephemerals;
  readonly access: Access;
  readonly book: RightsBook;
  readonly rulesFor: RulesFor;
  /** Runs the task in the turn of the device, for methods that have none as a whole. */
  readonly inTurn: InTurn;
  /** A token to connect by was revoked: its connections end. */
  readonly connectTokenEnded: () => void;
  /** Set when the daemon begins to stop: who only waits for something to happen ends. */
  readonly stopping: AbortSignal;
}

/** `uid`: whose it is; undefined: the daemon's own, which is never refused. */
export type InTurn = <T>(
  device: string,
  operation: string,
  task: () => Promise<T>,
  uid?: number,
) => Promise<T>;

/**
 * Runs `make`, which adds that many devices and bytes, within the user's limits. `copies`: what each new
 * device is made from, and so maps at once.
 */
export type Within = <T>(
  who: Principal,
  more: {
    readonly devices: number;
    readonly sizeBytes: bigint;
    readonly copies?: readonly Device[];
  },
  make: () => Promise<T>,
) => Promise<T>;
