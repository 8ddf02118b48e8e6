/** What each method does, once the policy has let it. A topic is a file, as in the protocol. */
import { deviceHandlers } from "./device.ts";
import type { HandlerParts, Handlers } from "./handler.ts";
import { mountHandlers } from "./mount.ts";
import { poolHandlers } from "./pool.ts";

export type { HandlerParts, Handlers } from "./handler.ts";

export function makeHandlers(parts: HandlerParts): Handlers {
  return { ...poolHandlers(parts), ...deviceHandlers(parts), ...mountHandlers(parts) };
}
