/** A device that a call names beside the one that the policy has judged. */
import type { Device } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import type { Principal } from "../policy/policy.ts";
import type { HandlerParts } from "./handler.ts";

/** The device of that name; NOT_FOUND where there is none, or none that the caller may see. */
export function seenDevice({
  pool,
  access,
}: Pick<HandlerParts, "pool" | "access">): (
  operation: string,
  name: string,
  principal: Principal,
) => Device {
  return (operation, name, principal) => {
    const found = pool.has({ name }) ? pool.get({ name }) : undefined;
    if (found !== undefined && access.sees(principal, found)) return found;
    const reason = "there is no such device";
    throw new RequestError({ code: "NOT_FOUND", operation, object: name, reason });
  };
}
