/** mount.*: references to mounted devices. */
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import type { OpenNamespace, PeerProcess } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import { namespaceOfCaller } from "../mounts/namespace.ts";
import type { MappedLimit } from "../policy/mapped-limit.ts";
import type { Principal } from "../policy/policy.ts";
import type { HeldReference } from "../references/mount-service.ts";
import { Quota } from "../references/quota.ts";
import type { CallContext, HandlerParts, Handlers, Topic } from "./handler.ts";

/** `block`: not to be mounted, but a block device of the caller's. */
type Wish = MethodParams<"mount.create"> & { readonly block?: true };

export function mountHandlers(
  parts: HandlerParts,
  mapped: MappedLimit,
): Topic<"mount"> & Pick<Handlers, "device.activate"> {
  const { pool, mounts, sessions, access, rulesFor } = parts;
  const namespaceFor = (
    principal: Principal,
    peer: PeerProcess | undefined,
    folder: string,
  ): Promise<OpenNamespace | undefined> =>
    namespaceOfCaller({
      pid: principal.pid,
      peer,
      allowed: rulesFor(principal).otherNamespaces,
      folder,
    });
  const references = new Quota("references");
  const leases = new Quota("leases");
  const create = async (
    params: Wish,
    principal: Principal,
    call: CallContext,
  ): Promise<MethodResult<"mount.create">> => {
    const { uid } = principal;
    const { device, holder = { type: "session" }, folder, block = false } = params;
    const { readOnly, noExec, noSymFollow, ownership } = params;
    // The one that the policy has just judged: nothing was awaited since.
    const judged = pool.get({ name: device });
    // Sent again, with its key: it counts already.
    const again = mounts.get(call.newUuid()) !== undefined;
    // The session, too, is asked for before anything is awaited: a connection that ends has none any more.
    const heldBy =
      holder.type === "session"
        ? { ...holder, session: sessions.of(uid, call.connection) }
        : holder;
    if (folder !== undefined && call.token !== undefined) {
      throw new RequestError({
        code: "UNSUPPORTED",
        operation: "mount.create",
        object: folder,
        reason: "you have connected over TCP, and have no folders where the daemon runs",
        hint: "Mount without a folder: the daemon makes one on its machine.",
      });
    }
    await using namespace =
      folder === undefined ? undefined : await namespaceFor(principal, call.peer, folder);
    const wish = {
      holder: heldBy,
      folder,
      namespace,
      block,
      asOwn: !access.touches(principal, judged),
      form: {
        ...(readOnly === undefined ? {} : { readOnly }),
        ...(noExec === undefined ? {} : { noExec }),
        ...(noSymFollow === undefined ? {} : { noSymFollow }),
        ...(ownership === undefined ? {} : { ownership }),
      },
    };
    const limits = access.limits(principal);
    const own = mounts.countsOf(uid);
    const mount = (): Promise<HeldReference> =>
      mounts.create(principal, judged, wish, call.newUuid);
    if (again) return mountToWire(await mount());
    // What can be written to can come to map more.
    const writesOwn = readOnly !== true && judged.ownerUid === uid;
    const make = writesOwn ? () => mapped.within(principal, [], mount) : mount;
    const held = BigInt(own.references);
    const limit = BigInt(limits.mounts);
    const made = await references.reserve({ uid, held, more: 1n, limit }, () => {
      if (holder.type !== "lease") return make();
      const leased = BigInt(own.leases);
      const most = BigInt(limits.leases);
      return leases.reserve({ uid, held: leased, more: 1n, limit: most }, make);
    });
    return mountToWire(made);
  };
  return {
    "mount.create": create,
    "device.activate": ({ name, ...wish }, principal, call) =>
      create({ ...wish, device: name, block: true }, principal, call),

    "mount.renew": async ({ reference, ttlMs }) => {
      const renewed = await mounts.renew(reference, ttlMs);
      if (renewed !== undefined) return mountToWire(renewed);
      throw new RequestError({
        code: "NOT_MOUNTED",
        operation: "mount.renew",
        object: reference,
        reason: "you hold no such lease",
        hint: "What a session holds needs no renewal; an ended lease is asked for anew.",
      });
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

export function mountToWire(held: HeldReference): MethodResult<"mount.create"> {
  const { reference, device, path, block, holderUid, count, holder, leaseLeftMs, readOnly } = held;
  return {
    reference,
    device,
    path,
    ownerUid: holderUid,
    count,
    holder,
    ...(leaseLeftMs === undefined ? {} : { leaseLeftMs: Math.max(0, Math.round(leaseLeftMs)) }),
    readOnly,
    block,
    mounted: held.state === "mounted",
  };
}
