/** What a handler is: called once the policy has let the caller. */
import type { MethodName, MethodParams, MethodResult } from "@thinpool/protocol";
import type { ThinPool } from "@thinpool/thinpool";
import type { Principal } from "../policy/policy.ts";
import type { MountService } from "../references/mount-service.ts";

export type Handlers = {
  readonly [M in MethodName]: (
    params: MethodParams<M>,
    principal: Principal,
  ) => Promise<MethodResult<M>>;
};

/** The handlers of one topic: `Topic<"device">` has all methods that begin with "device.". */
export type Topic<T extends string> = Pick<Handlers, Extract<MethodName, `${T}.${string}`>>;

/** What handlers work on. */
export interface HandlerParts {
  readonly pool: ThinPool;
  readonly mounts: MountService;
}
