/** What each method does, once the policy has let it. A topic is a file, as in the protocol. */
import { deviceHandlers } from "./device.ts";
import type { HandlerParts, Handlers } from "./handler.ts";
import { mountHandlers } from "./mount.ts";
import { policyHandlers } from "./policy.ts";
import { poolHandlers } from "./pool.ts";
import { sessionHandlers } from "./session.ts";
import { tokenHandlers } from "./token.ts";

export type { CallContext, HandlerParts, Handlers } from "./handler.ts";

export function makeHandlers(parts: HandlerParts): Handlers {
  return {
    ...poolHandlers(parts),
    ...deviceHandlers(parts),
    ...mountHandlers(parts),
    ...sessionHandlers(parts),
    ...policyHandlers(parts),
    ...tokenHandlers(parts),
  };
}
