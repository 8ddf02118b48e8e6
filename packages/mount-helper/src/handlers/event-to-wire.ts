/** An event as a caller sees it. */
import type { KnownEvent } from "@thinpool/protocol";
import type { DeviceEventBody, PoolEvent } from "@thinpool/thinpool";
import type { Access } from "../policy/access.ts";
import type { Principal } from "../policy/policy.ts";
import { ROOT_RULE } from "../policy/rights.ts";

type Judge = Pick<Access, "saw" | "decide">;
type DeviceEvent = PoolEvent & DeviceEventBody;

/** Undefined where it is not for this caller, or for nobody. */
export function eventToWire(
  event: PoolEvent,
  who: Principal,
  access: Judge,
): KnownEvent | undefined {
  const { number, atMs } = event;
  const base = { number, atMs };
  const toAdmins = (wire: KnownEvent): KnownEvent | undefined =>
    access.decide(who, "admin", undefined).allowed ? wire : undefined;
  switch (event.type) {
    case "pool-created":
    case "pool-opened":
      return { ...base, type: event.type };
    case "pool-state":
      return { ...base, type: event.type, from: event.from, to: event.to };
    case "space":
      return {
        ...base,
        type: event.type,
        space: event.space,
        from: event.from,
        to: event.to,
        usedBytes: event.usedBytes.toString(),
        totalBytes: event.totalBytes.toString(),
      };
    case "grown":
      return {
        ...base,
        type: event.type,
        dataBytes: event.dataBytes.toString(),
        metadataBytes: event.metadataBytes.toString(),
        by: event.by,
      };
    case "exhausted":
      return { ...base, type: event.type, space: event.space };
    case "forecast": {
      const { type, space, secondsToExhausted } = event;
      return { ...base, type, space, secondsToExhausted };
    }
    case "growth-failed":
      return toAdmins({ ...base, type: event.type, reason: event.reason });
    case "no-space-answer":
      return toAdmins({ ...base, type: event.type, answer: event.answer });
    case "policy-changed":
      return toAdmins({ ...base, type: event.type });
    case "not-given-back":
    case "removal-unfinished":
      return toAdmins({ ...base, type: event.type, name: event.name, reason: event.reason });
    case "device-renamed":
      return renamedToWire(event, who, access);
    case "device-created":
    case "device-removed":
    case "device-resized":
    case "device-activated":
    case "device-deactivated":
      return access.saw(who, event, event.name) ? deviceEventToWire(event) : undefined;
    // Nothing has happened.
    case "undone":
    default:
      return undefined;
  }
}

/** As root sees it, who may see all: also of a pool that no daemon serves. */
export function eventToRoot(event: PoolEvent): KnownEvent | undefined {
  const all: Judge = { saw: () => true, decide: () => ({ allowed: true, rule: ROOT_RULE }) };
  return eventToWire(event, { uid: 0, gid: 0, pid: 0, groups: [] }, all);
}

function deviceEventToWire(
  event: Exclude<DeviceEvent, { readonly type: "device-renamed" }>,
): KnownEvent {
  const { number, atMs, name, deviceUuid } = event;
  const base = { number, atMs, name, deviceUuid };
  switch (event.type) {
    case "device-created": {
      const { type, originUuid, sizeBytes, ownerUid } = event;
      const origin = originUuid === undefined ? {} : { originUuid };
      return { ...base, type, ...origin, sizeBytes: sizeBytes.toString(), ownerUid };
    }
    case "device-resized": {
      const { type, sizeBytes, fromBytes } = event;
      return { ...base, type, sizeBytes: sizeBytes.toString(), fromBytes: fromBytes.toString() };
    }
    default:
      return { ...base, type: event.type };
  }
}

/** By a policy that goes by names the caller may see one of the two only. */
function renamedToWire(
  event: Extract<DeviceEvent, { readonly type: "device-renamed" }>,
  who: Principal,
  access: Judge,
): KnownEvent | undefined {
  const { number, atMs, name, deviceUuid, from, type } = event;
  const base = { number, atMs, deviceUuid };
  const sawOld = access.saw(who, event, from);
  if (access.saw(who, event, name)) return { ...base, name, type, ...(sawOld ? { from } : {}) };
  return sawOld ? { ...base, name: from, type: "device-removed" } : undefined;
}
