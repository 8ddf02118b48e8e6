/** For each method that changes something, how to tell whether it has happened. */
import type { KnownRequest, MethodName, MethodParams, MethodResult } from "@thinpool/protocol";
import { methodNames, methods } from "@thinpool/protocol";
import { deviceToWire } from "../handlers/device-to-wire.ts";
import type { HandlerParts } from "../handlers/index.ts";
import type { Recognise } from "./keyed-calls.ts";

interface Removed {
  readonly uuid: string;
}

interface Renamed {
  readonly uuid: string;
  readonly to: string;
}

interface Reverted {
  readonly uuid: string;
  readonly thinId: number;
}

interface Released {
  readonly reference: string;
  readonly device: string;
}

interface Revoked {
  readonly id: string;
}

/** The rules by method; one that changes something and has no rule stops the daemon's start. */
export function recognitionRules(
  parts: HandlerParts,
): (method: MethodName, params: object) => Recognise | undefined {
  const { pool, mounts, ephemerals, book } = parts;
  const toWire = deviceToWire(parts);
  const deviceOf = (uuid: string) => pool.list({ uuid })[0];
  const made: Recognise = {
    how: "made",
    find: (_request, uuid) => {
      const device = deviceOf(uuid(0));
      return device === undefined ? undefined : toWire(device);
    },
  };
  const imported: Recognise = {
    how: "made",
    find: (_request, uuid) => {
      const device = deviceOf(uuid(0));
      // Until all is in it, it is an ephemeral one, which goes with the call that fills it.
      if (device === undefined || ephemerals.has(device.uuid)) return undefined;
      return { device: toWire(device) };
    },
  };
  const mounted: Recognise = {
    how: "held",
    uuidOf: ({ reference }: MethodResult<"mount.create">) => reference,
    isThere: (reference) => mounts.get(reference) !== undefined,
  };
  const heldClone: Recognise = {
    how: "held",
    uuidOf: ({ uuid }: MethodResult<"device.clone">) => uuid,
    isThere: (uuid) => deviceOf(uuid) !== undefined,
  };
  const removed: Recognise = {
    how: "compared",
    before: (request): Removed => ({ uuid: pool.get({ name: param(request, "name") }).uuid }),
    find: ({ uuid }: Removed) => (deviceOf(uuid) === undefined ? {} : undefined),
  };
  const released: Recognise = {
    how: "compared",
    before: (request): Released => {
      const reference = param(request, "reference");
      return { reference, device: mounts.deviceOf(reference) ?? "" };
    },
    find: ({ reference, device }: Released) => {
      if (mounts.deviceOf(reference) !== undefined) return undefined;
      return { device, count: mounts.list().filter((held) => held.device === device).length };
    },
  };
  const revoked: Recognise = {
    how: "compared",
    before: (request): Revoked => ({ id: param(request, "id") }),
    find: ({ id }: Revoked) =>
      book.tokenById(id) === undefined && book.connectTokenById(id) === undefined ? {} : undefined,
  };
  const madeMany: Recognise = {
    how: "made",
    find: (request, uuid) => {
      const { snapshots } = request.params as MethodParams<"device.snapshotMany">;
      const devices = snapshots.map((_each, index) => deviceOf(uuid(index)));
      // One transaction made them: all are there, or none. How long it held them still is forgotten.
      return devices.every((device) => device !== undefined)
        ? { devices: devices.map(toWire), pauseMs: 0 }
        : undefined;
    },
  };
  const renamed: Recognise = {
    how: "compared",
    before: (request): Renamed => {
      return { uuid: pool.get({ name: param(request, "name") }).uuid, to: param(request, "to") };
    },
    find: ({ uuid, to }: Renamed) => {
      const device = deviceOf(uuid);
      return device?.name === to ? toWire(device) : undefined;
    },
  };
  const reverted: Recognise = {
    how: "compared",
    before: (request): Reverted => {
      const { uuid, thinId } = pool.get({ name: param(request, "name") });
      return { uuid, thinId };
    },
    // Reverting gives the device a thin device of its own, whose id no other has while this one is there.
    find: ({ uuid, thinId }: Reverted) => {
      const device = deviceOf(uuid);
      return device === undefined || device.thinId === thinId ? undefined : toWire(device);
    },
  };
  const cloned = ({ ephemeral }: MethodParams<"device.clone">): Recognise =>
    ephemeral === true ? heldClone : made;
  const rules: Partial<Record<MethodName, Recognise | ((params: never) => Recognise)>> = {
    "device.create": made,
    "device.clone": cloned,
    "device.import": imported,
    // What was told is told again, without the stream: whoever asks has taken it all.
    "device.export": { how: "repeated" },
    "device.snapshotMany": madeMany,
    "device.rename": renamed,
    "device.update": { how: "repeated" },
    "device.resize": { how: "repeated" },
    "device.revert": reverted,
    // Twice means one more of the same state: what it is made for is there all the same.
    "pool.backup": { how: "repeated" },
    "pool.extend": { how: "repeated" },
    "pool.setSpacePolicy": { how: "repeated" },
    "device.trim": { how: "repeated" },
    "device.publish": { how: "repeated" },
    "device.remove": removed,
    "mount.create": mounted,
    "device.activate": mounted,
    "mount.release": released,
    // A lease that is said to have its time must have it.
    "mount.renew": { how: "replaced" },
    "token.create": { how: "replaced" },
    "token.createConnect": { how: "replaced" },
    "token.revoke": revoked,
  };
  const missing = methodNames.filter((name) => methods[name].changes && rules[name] === undefined);
  if (missing.length > 0) throw new Error(`changes without a rule: ${missing.join(", ")}`);
  return (method, params) => {
    const rule = rules[method];
    return typeof rule === "function" ? rule(params as never) : rule;
  };
}

/** A parameter that the method's schema has made sure of. */
function param(request: KnownRequest, name: string): string {
  return String((request.params as Readonly<Record<string, unknown>>)[name]);
}
