/** mount.*: references to mounted devices. */
import type { MethodResult } from "@thinpool/protocol";
import { RequestError } from "../errors.ts";
import type { HeldReference } from "../references/mount-service.ts";
import { MAX_REFERENCES_PER_UID, Quota } from "../references/quota.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function mountHandlers({ pool, mounts }: HandlerParts): Topic<"mount"> {
  const references = new Quota("references", MAX_REFERENCES_PER_UID);
  return {
    "mount.create": async ({ device }, principal) => {
      const held = mounts.countOf(principal.uid);
      const reference = await references.reserve(principal.uid, held, () =>
        mounts.create(principal, pool.get({ name: device })),
      );
      return mountToWire(reference);
    },

    "mount.release": async ({ reference }) => {
      const released = await mounts.release(reference);
      if (released !== undefined) return released;
      throw new RequestError({
        code: "NOT_MOUNTED",
        operation: "mount.release",
        object: reference,
        reason: "you hold no such reference",
      });
    },

    "mount.list": (_params, { uid }) => {
      const own = mounts.list().filter(({ holderUid }) => uid === 0 || holderUid === uid);
      return Promise.resolve(own.map(mountToWire));
    },
  };
}

function mountToWire(held: HeldReference): MethodResult<"mount.create"> {
  const { reference, device, path, holderUid, count } = held;
  return { reference, device, path, ownerUid: holderUid, count };
}
