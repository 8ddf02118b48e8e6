/** device.*: the disks in the pool. */
import type { Device } from "@thinpool/thinpool";
import { DEFAULT_DEVICE_BYTES } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import type { MappedLimit } from "../policy/mapped-limit.ts";
import { deviceToWire } from "./device-to-wire.ts";
import { deviceVerbHandlers } from "./device-verbs.ts";
import { devicesInTurns } from "./devices-in-turns.ts";
import type { HandlerParts, Topic } from "./handler.ts";
import { seenDevice } from "./seen-device.ts";
import { streamHandlers } from "./streams.ts";
import { withinLimits } from "./within-limits.ts";

/** All but `device.activate`, which takes a reference as mounting does (mount.ts). */
export function deviceHandlers(
  parts: HandlerParts,
  mapped: MappedLimit,
): Omit<Topic<"device">, "device.activate"> {
  const { pool, mounts, sessions, ephemerals, access, book } = parts;
  const within = withinLimits(parts, mapped);
  const toWire = deviceToWire(parts);
  const seen = seenDevice(parts);
  return {
    ...deviceVerbHandlers(parts, within),
    ...streamHandlers(parts, within),

    "device.create": async ({ name, sizeBytes, filesystem }, principal, call) => {
      const size = sizeBytes === undefined ? DEFAULT_DEVICE_BYTES : BigInt(sizeBytes);
      const { device } = await within(principal, { devices: 1, sizeBytes: size }, () =>
        pool.createDevice({
          name,
          ownerUid: principal.uid,
          uuid: call.newUuid(),
          sizeBytes: size,
          ...(filesystem === undefined ? {} : { filesystem }),
        }),
      );
      return toWire(device);
    },

    "device.clone": async ({ origin, name, ephemeral = false }, principal, call) => {
      const { uid } = principal;
      // The one that the policy has just judged: nothing was awaited since.
      const judged = pool.get({ name: origin });
      const uuid = call.newUuid();
      // Asked for before anything is awaited: a connection that ends has none any more.
      const session = ephemeral ? sessions.of(call.principal.uid, call.connection) : undefined;
      const [present] = session === undefined ? [] : pool.list({ uuid });
      if (session !== undefined && present !== undefined) {
        // Sent again, with its key.
        sessions.keep(session);
        ephemerals.holdBy(present, session);
        return toWire(present);
      }
      // By then another device may have the origin's name: of that one no copy is made, not even for a moment.
      const options = { origin, originUuid: judged.uuid, name, ownerUid: uid, uuid };
      const make = async (): Promise<Device> => (await pool.snapshot(options)).device;
      const more = { devices: 1, sizeBytes: judged.sizeBytes, copies: [judged] };
      const device = await within(principal, more, () => {
        if (session === undefined) return make();
        sessions.keep(session);
        return ephemerals.create({ name, uuid, session }, make);
      });
      return toWire(device);
    },

    "device.list": async ({ labels, ownerUid, origin, after, limit }, principal, { signal }) => {
      const originUuid =
        origin === undefined ? undefined : seen("device.list", origin, principal).uuid;
      const wanted = {
        filter: {
          ...(ownerUid === undefined ? {} : { ownerUid }),
          ...(originUuid === undefined ? {} : { originUuid }),
        },
        view: (device: Device) => {
          const isAsked = (labels ?? []).every(({ key, value }) => device.labels[key] === value);
          return isAsked && access.sees(principal, device) ? toWire(device) : undefined;
        },
        signal,
      };
      const { devices, next } = await devicesInTurns(pool, wanted, { after, limit });
      if (limit === undefined) return [...devices];
      return { devices: [...devices], ...(next === undefined ? {} : { next }) };
    },

    "device.get": ({ name }) => Promise.resolve(toWire(pool.get({ name }))),

    "device.publish": async ({ name, public: isPublic }) => {
      const device = pool.get({ name });
      if (device.ownerUid !== 0) {
        throw new RequestError({
          code: "INVALID_PARAMS",
          operation: "device.publish",
          object: name,
          reason: "only root's devices are images",
          hint: "Its owner can give a token for it (thinpool token create).",
        });
      }
      await book.setPublic(device.uuid, isPublic);
      return toWire(device);
    },

    "device.remove": async ({ name }) => {
      const device = pool.get({ name });
      await mounts.assertNotMounted(device, "remove");
      await pool.remove({ name });
      mounts.forget(device);
      book.forgetDevice(device.uuid);
      return {};
    },
  };
}
