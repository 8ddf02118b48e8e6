/**
 * Who may do what, in one table: a method without a line here does not exist, and the daemon does not
 * start. Root may do everything. Another's device looks as if it were not there; root's devices are
 * images, which everybody sees and may clone.
 */
import type { ErrorCode, KnownRequest, MethodName } from "@thinpool/protocol";
import { methodNames } from "@thinpool/protocol";

/** Who is at a socket's other end, as the kernel noted it at connect(2). */
export interface Principal {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The supplementary groups. */
  readonly groups: readonly number[];
}

export type Rule =
  /** Anybody; a list holds only what the caller may see. */
  | "anyone"
  | "root"
  /** The device that the call names is one's own or root's. */
  | "sees-device"
  /** The device that the call names is one's own. */
  | "owns-device"
  /** The reference that the call names is one's own. */
  | "holds-reference";

export interface MethodPolicy {
  readonly rule: Rule;
  /** The parameter that names what the rule is about; undefined: the pool as a whole. */
  readonly object: "name" | "origin" | "device" | "reference" | undefined;
  /** The parameter that names the device whose operations wait for each other; undefined: no turn. */
  readonly turn: "name" | "device" | "reference" | undefined;
}

export const policy: Readonly<Record<MethodName, MethodPolicy>> = {
  "pool.status": { rule: "anyone", object: undefined, turn: undefined },
  "device.create": { rule: "root", object: "name", turn: "name" },
  "device.clone": { rule: "sees-device", object: "origin", turn: "name" },
  "device.list": { rule: "anyone", object: undefined, turn: undefined },
  "device.get": { rule: "sees-device", object: "name", turn: undefined },
  "device.remove": { rule: "owns-device", object: "name", turn: "name" },
  "mount.create": { rule: "owns-device", object: "device", turn: "device" },
  "mount.release": { rule: "holds-reference", object: "reference", turn: "reference" },
  "mount.list": { rule: "anyone", object: undefined, turn: undefined },
};

/** Throws where a method has no rule: called before the daemon listens. */
export function assertPolicyComplete(
  table: Readonly<Record<string, MethodPolicy | undefined>> = policy,
): void {
  const missing = methodNames.filter(
    (name) => !Object.hasOwn(table, name) || table[name] === undefined,
  );
  if (missing.length > 0) throw new Error(`methods without a policy: ${missing.join(", ")}`);
}

/** What the rules ask about the named objects. */
export interface PolicyFacts {
  /** Undefined where there is no such device. */
  deviceOwner(name: string): number | undefined;
  /** Undefined where there is no such reference. */
  referenceHolder(id: string): number | undefined;
}

export type Verdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly code: ErrorCode; readonly reason: string };

const ALLOWED: Verdict = { allowed: true };

export function isVisible(principal: Principal, ownerUid: number): boolean {
  return principal.uid === 0 || ownerUid === 0 || ownerUid === principal.uid;
}

/** A parameter by its name; undefined where the method has none of that name. */
export function paramOf(request: KnownRequest, name: string | undefined): string | undefined {
  const value: unknown = Object.entries(request.params).find(([key]) => key === name)?.[1];
  return typeof value === "string" ? value : undefined;
}

/** The object that a call is about: a name, a reference, or "the pool". */
export function objectOf(request: KnownRequest): string {
  return paramOf(request, policy[request.method].object) ?? "the pool";
}

/** The decision, before the handler runs. What does not exist is refused to root as well. */
export function judge(principal: Principal, request: KnownRequest, facts: PolicyFacts): Verdict {
  const { rule } = policy[request.method];
  const object = objectOf(request);
  switch (rule) {
    case "anyone":
      return ALLOWED;
    case "sees-device":
    case "owns-device":
      return judgeDevice(principal, rule, facts.deviceOwner(object));
    case "holds-reference":
      return judgeReference(principal, facts.referenceHolder(object));
    case "root":
    default:
      return principal.uid === 0
        ? ALLOWED
        : { allowed: false, code: "FORBIDDEN", reason: "only root may do this" };
  }
}

/** Another's reference and none look the same. */
function judgeReference(principal: Principal, holder: number | undefined): Verdict {
  return holder !== undefined && (principal.uid === 0 || principal.uid === holder)
    ? ALLOWED
    : { allowed: false, code: "NOT_MOUNTED", reason: "you hold no such reference" };
}

function judgeDevice(
  principal: Principal,
  rule: "sees-device" | "owns-device",
  owner: number | undefined,
): Verdict {
  if (owner === undefined || !isVisible(principal, owner)) {
    return { allowed: false, code: "NOT_FOUND", reason: "there is no such device" };
  }
  if (rule === "sees-device" || principal.uid === 0 || principal.uid === owner) return ALLOWED;
  return { allowed: false, code: "FORBIDDEN", reason: "it belongs to root: clone it" };
}
