/** What each method does, once the policy has let it. A topic is a file, as in the protocol. */
import { MappedLimit } from "../policy/mapped-limit.ts";
import { deviceHandlers } from "./device.ts";
import { eventHandlers } from "./events.ts";
import type { HandlerParts, Handlers } from "./handler.ts";
import { mountHandlers } from "./mount.ts";
import { policyHandlers } from "./policy.ts";
import { poolHandlers } from "./pool.ts";
import { sessionHandlers } from "./session.ts";
import { tokenHandlers } from "./token.ts";

export type { CallContext, HandlerParts, Handlers } from "./handler.ts";

export function makeHandlers(parts: HandlerParts): Handlers {
  const mapped = new MappedLimit(parts);
  return {
    ...poolHandlers(parts),
    ...deviceHandlers(parts, mapped),
    ...eventHandlers(parts),
    ...mountHandlers(parts, mapped),
    ...sessionHandlers(parts),
    ...policyHandlers(parts),
    ...tokenHandlers(parts),
  };
}
