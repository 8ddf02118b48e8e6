/** For each method that changes something, how to tell whether it has happened. */
import type { KnownRequest, MethodName } from "@thinpool/protocol";
import { methodNames, methods } from "@thinpool/protocol";
import { deviceToWire } from "../handlers/device.ts";
import type { HandlerParts } from "../handlers/index.ts";
import { mountToWire } from "../handlers/mount.ts";
import type { Recognise } from "./keyed-calls.ts";

interface Removed {
  readonly uuid: string;
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
): (method: MethodName) => Recognise | undefined {
  const { pool, mounts, book } = parts;
  const toWire = deviceToWire(parts);
  const deviceOf = (uuid: string) => pool.list().find((device) => device.uuid === uuid);
  const made: Recognise = {
    how: "made",
    find: (_request, uuid) => {
      const device = deviceOf(uuid(0));
      return device === undefined ? undefined : toWire(device);
    },
  };
  const mounted: Recognise = {
    how: "made",
    find: (_request, uuid) => {
      const held = mounts.list().find(({ reference }) => reference === uuid(0));
      return held === undefined ? undefined : mountToWire(held);
    },
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
    find: ({ id }: Revoked) => (book.tokenById(id) === undefined ? {} : undefined),
  };
  const rules: Partial<Record<MethodName, Recognise>> = {
    "device.create": made,
    "device.clone": made,
    "device.publish": { how: "repeated" },
    "device.remove": removed,
    "mount.create": mounted,
    "mount.release": released,
    "mount.renew": { how: "repeated" },
    "token.create": { how: "replaced" },
    "token.revoke": revoked,
  };
  const missing = methodNames.filter((name) => methods[name].changes && rules[name] === undefined);
  if (missing.length > 0) throw new Error(`changes without a rule: ${missing.join(", ")}`);
  return (method) => rules[method];
}

/** A parameter that the method's schema has made sure of. */
function param(request: KnownRequest, name: string): string {
  return String((request.params as Readonly<Record<string, unknown>>)[name]);
}
