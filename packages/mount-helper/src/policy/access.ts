/** The policy, the rights that were given, and the objects that both are about, asked as one. */
import type { KnownRequest } from "@thinpool/protocol";
import type { Device, DeviceEventBody, ThinPool } from "@thinpool/thinpool";
import { idsOf } from "../accounts.ts";
import { RequestError } from "../errors.ts";
import { MAX_DEVICES_PER_UID, MAX_REFERENCES_PER_UID } from "../references/quota.ts";
import type { LivePolicy } from "./live-policy.ts";
import type { JudgedDevice, PolicyFacts, Principal, Verdict } from "./policy.ts";
import { judge } from "./policy.ts";
import type { Decision, DecisionObject, Limits, Policy, Verb, Who } from "./rights.ts";
import { decide, limitsOf } from "./rights.ts";
import type { RightsBook } from "./rights-book.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** What holds where no rule says anything else. */
export const DEFAULT_LIMITS: Limits = {
  devices: MAX_DEVICES_PER_UID,
  virtualBytes: undefined,
  mappedBytes: undefined,
  mounts: MAX_REFERENCES_PER_UID,
  leases: MAX_REFERENCES_PER_UID,
  holdMs: 30 * DAY_MS,
  requestsInFlight: 1_024,
  requestsPerSecond: 20_000,
  requestMs: 10 * 60 * 1000,
};

export interface AccessParts {
  readonly pool: ThinPool;
  readonly live: LivePolicy;
  readonly book: RightsBook;
  readonly referenceHolder: (id: string) => number | undefined;
}

/** As whom a call is judged and done, and who asked. */
export interface Acting {
  readonly principal: Principal;
  /** Set where that is not the caller himself. */
  readonly onBehalfOf: number | undefined;
}

export class Access {
  readonly #parts: AccessParts;
  readonly #facts: PolicyFacts;

  constructor(parts: AccessParts) {
    this.#parts = parts;
    this.#facts = {
      policy: () => parts.live.current,
      device: (name) => this.device(name),
      referenceHolder: parts.referenceHolder,
      token: (use) => parts.book.tokenFor(use)?.id,
    };
  }

  get policy(): Policy {
    return this.#parts.live.current;
  }

  device(name: string): JudgedDevice | undefined {
    const { pool } = this.#parts;
    return pool.has({ name }) ? this.factsOf(pool.get({ name })) : undefined;
  }

  factsOf({ name, uuid, ownerUid }: Device): JudgedDevice {
    return { name, uuid, ownerUid, isPublic: this.#parts.book.isPublic(uuid) };
  }

  decide(who: Who, verb: Verb, object: DecisionObject): Decision {
    return decide(this.policy, who, verb, object);
  }

  sees(who: Who, device: Device): boolean {
    return this.decide(who, "see", { device: this.factsOf(device) }).allowed;
  }

  /** Of a device as it was when the event happened, by that name: there may be no record of it now. */
  saw(who: Who, event: DeviceEventBody, name: string): boolean {
    const { deviceUuid, ownerUid } = event;
    // Only an image's being public decides anything, so nobody else's is looked up.
    const isPublic = ownerUid === 0 && this.#parts.book.wasPublic(deviceUuid);
    return this.decide(who, "see", { device: { name, ownerUid, isPublic } }).allowed;
  }

  /** May he mount and remove it by his own right, not only by a token? */
  touches(who: Who, device: Device): boolean {
    return this.decide(who, "touch", { device: this.factsOf(device) }).allowed;
  }

  limits(who: Who): Limits {
    return limitsOf(this.policy, who, DEFAULT_LIMITS);
  }

  judge(principal: Principal, request: KnownRequest): Verdict {
    return judge(principal, request, this.#facts);
  }

  /**
   * To act for another is a right of its own, and looked at first. With it the call is judged by the
   * other's rights, never by the caller's: a refusal falls back to nothing.
   */
  async actingAs(caller: Principal, request: KnownRequest): Promise<Acting> {
    const { params, method } = request;
    const other = "onBehalfOf" in params ? params.onBehalfOf : undefined;
    if (other === undefined) return { principal: caller, onBehalfOf: undefined };
    const { allowed } = this.decide(caller, "on-behalf-of", { uid: other });
    if (!allowed) {
      throw new RequestError({
        code: "FORBIDDEN",
        operation: method,
        object: `uid ${other}`,
        reason: "the policy does not let you act on behalf of that user",
      });
    }
    return { principal: { ...(await idsOf(other)), pid: caller.pid }, onBehalfOf: other };
  }
}
