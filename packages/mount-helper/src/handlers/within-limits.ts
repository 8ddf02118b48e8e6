/** What a user may have of devices, whichever method makes them. */
import type { MappedLimit } from "../policy/mapped-limit.ts";
import { Quota } from "../references/quota.ts";
import type { HandlerParts, Within } from "./handler.ts";

export function withinLimits(
  { pool, access }: Pick<HandlerParts, "pool" | "access">,
  mapped: MappedLimit,
): Within {
  const devices = new Quota("devices");
  const virtualBytes = new Quota("bytes of devices");
  return (who, more, make) => {
    const withinSizes = (): ReturnType<typeof make> => {
      const { uid } = who;
      const limits = access.limits(who);
      const own = pool.owned({ ownerUid: uid });
      const held = BigInt(own.devices);
      const limit = BigInt(limits.devices);
      return devices.reserve({ uid, held, more: BigInt(more.devices), limit }, () =>
        virtualBytes.reserve(
          { uid, held: own.sizeBytes, more: more.sizeBytes, limit: limits.virtualBytes },
          make,
        ),
      );
    };
    return more.devices === 0 ? withinSizes() : mapped.within(who, more.copies ?? [], withinSizes);
  };
}
