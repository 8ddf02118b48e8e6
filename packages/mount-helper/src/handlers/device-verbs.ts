/** device.*: what can be done with devices that are there. */
import type { MethodResult } from "@thinpool/protocol";
import { MAX_CHANGED_RANGES } from "@thinpool/protocol";
import { PoolError } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import { deviceToWire } from "./device-to-wire.ts";
import type { HandlerParts, Handlers, Within } from "./handler.ts";
import { readableDevice, seenDevice } from "./seen-device.ts";

export type DeviceVerb =
  | "device.snapshotMany"
  | "device.rename"
  | "device.update"
  | "device.resize"
  | "device.revert"
  | "device.changedBlocks"
  | "device.trim";

export function deviceVerbHandlers(
  parts: HandlerParts,
  within: Within,
): Pick<Handlers, DeviceVerb> {
  const { pool, mounts, ephemerals } = parts;
  const seen = seenDevice(parts);
  const readable = readableDevice(parts);
  const toWire = deviceToWire(parts);
  return {
    "device.snapshotMany": async ({ snapshots }, principal, call) => {
      // Those that the policy has just judged: nothing was awaited since.
      const judged = snapshots.map(({ origin }) => pool.get({ name: origin }));
      const sizeBytes = judged.reduce((sum, origin) => sum + origin.sizeBytes, 0n);
      const asked = snapshots.map(({ origin, name }, index) => {
        const originUuid = judged[index]?.uuid;
        return { origin, originUuid, name, ownerUid: principal.uid, uuid: call.newUuid() };
      });
      const { devices, pauseMs } = await within(
        principal,
        { devices: snapshots.length, sizeBytes, copies: judged },
        () => pool.snapshotMany({ snapshots: asked }),
      );
      return { devices: devices.map(toWire), pauseMs };
    },

    "device.rename": async ({ name, to }) => {
      const device = pool.get({ name });
      await mounts.assertNotMounted(device, "rename");
      if (ephemerals.has(device.uuid)) {
        const reason = "an ephemeral clone goes by the name that it was made with";
        const hint = "Make a clone that is not ephemeral.";
        const [operation, object] = ["device.rename", name];
        throw new RequestError({ code: "INVALID_PARAMS", operation, object, reason, hint });
      }
      return toWire((await pool.rename({ name, to })).device);
    },

    "device.update": async ({ name, labels, readOnly }) => {
      const { device } = await pool.update({
        name,
        ...(labels === undefined ? {} : { labels }),
        ...(readOnly === undefined ? {} : { readOnly }),
      });
      return toWire(device);
    },

    "device.resize": async ({ name, sizeBytes: text }, principal, { signal }) => {
      const sizeBytes = BigInt(text);
      const grown = sizeBytes - pool.get({ name }).sizeBytes;
      const more = { devices: 0, sizeBytes: grown > 0n ? grown : 0n };
      const { device, filesystem } = await within(principal, more, () =>
        pool.resize({ name, sizeBytes, signal }),
      );
      return { device: toWire(device), filesystem };
    },

    "device.revert": async ({ name, snapshot }, principal) => {
      const { uuid: snapshotUuid } = readable("device.revert", snapshot, principal);
      await mounts.assertNotMounted(pool.get({ name }), "revert");
      return toWire((await pool.revert({ name, snapshot, snapshotUuid })).device);
    },

    "device.changedBlocks": async ({ name, from, offsetBytes, limit }, principal, { signal }) => {
      seen("device.changedBlocks", from, principal);
      const begin = BigInt(offsetBytes ?? 0);
      const most = limit ?? MAX_CHANGED_RANGES;
      const ranges: MethodResult<"device.changedBlocks">["ranges"] = [];
      let end = begin;
      for await (const range of pool.changedBlocks({ from, to: name, signal })) {
        const rangeEnd = range.offsetBytes + range.lengthBytes;
        if (rangeEnd <= begin) continue;
        if (ranges.length === most) return { ranges, nextOffsetBytes: end.toString() };
        // One that began before the page: a device in use has changed since.
        const offset = range.offsetBytes < begin ? begin : range.offsetBytes;
        ranges.push({
          kind: range.kind,
          offsetBytes: offset.toString(),
          lengthBytes: (rangeEnd - offset).toString(),
        });
        end = rangeEnd;
      }
      return { ranges };
    },

    "device.trim": async ({ name }) => {
      try {
        const { trimmedBytes } = await pool.trim({ name });
        return { trimmedBytes: trimmedBytes.toString() };
      } catch (error) {
        if (!(error instanceof PoolError) || error.code !== "DEVICE_INACTIVE") throw error;
        const [operation, object] = ["device.trim", name];
        const reason =
          "it is not mounted for writing: only a filesystem knows what it does not use";
        const hint = "Mount it first.";
        throw new RequestError({ code: "NOT_MOUNTED", operation, object, reason, hint });
      }
    },
  };
}
