/** A device that a call names beside the one that the policy has judged. */
import type { Device } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import type { Principal } from "../policy/policy.ts";
import type { HandlerParts } from "./handler.ts";

type Named = (operation: string, name: string, principal: Principal) => Device;
type Parts = Pick<HandlerParts, "pool" | "access">;

/** The device of that name; NOT_FOUND where there is none, or none that the caller may see. */
export function seenDevice({ pool, access }: Parts): Named {
  return (operation, name, principal) => {
    const found = pool.has({ name }) ? pool.get({ name }) : undefined;
    if (found !== undefined && access.sees(principal, found)) return found;
    const reason = "there is no such device";
    throw new RequestError({ code: "NOT_FOUND", operation, object: name, reason });
  };
}

/**
 * The same of one whose content the caller is to have: he must be one who may clone or mount it. To see a
 * device is to be told of it, and not to read what is on it.
 */
export function readableDevice(parts: Parts): Named {
  const seen = seenDevice(parts);
  const { access } = parts;
  return (operation, name, principal) => {
    const found = seen(operation, name, principal);
    const device = access.factsOf(found);
    const verbs = ["clone", "touch"] as const;
    if (verbs.some((verb) => access.decide(principal, verb, { device }).allowed)) return found;
    const reason = "the policy lets you see it, not have what is on it";
    const hint = "Ask its owner for a token, and clone it.";
    throw new RequestError({ code: "FORBIDDEN", operation, object: name, reason, hint });
  };
}
