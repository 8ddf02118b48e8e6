/**
 * What each method takes, in one table: a method without a line here does not exist, and the daemon
 * does not start. Who has it, the rules say (rights.ts). Another's device that the caller may not see
 * looks as if it were not there.
 */
import type { ErrorCode, KnownRequest, MethodName } from "@thinpool/protocol";
import { methodNames } from "@thinpool/protocol";
import type { Decision, DeviceFacts, Policy, Verb } from "./rights.ts";
import { NO_RULE, ROOT_RULE, decide } from "./rights.ts";
import type { TokenVerb } from "./rights-store.ts";

/** Who is at a socket's other end, as the kernel noted it at connect(2). */
export interface Principal {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The supplementary groups. */
  readonly groups: readonly number[];
}

export type Rule =
  /** Whoever could connect. */
  | "open"
  /** Anybody whom a rule is about; a list holds only what the caller may see. */
  | "anyone"
  /** Administrators: root, and whom the policy makes one. */
  | "root"
  /** Who may make tokens to connect over TCP. */
  | "connects"
  /** Who may make empty devices. */
  | "creates"
  /** Who may make empty devices, or, where the call has an origin, may clone that. */
  | "creates-or-clones"
  /** The device that the call names may be cloned by the caller. */
  | "clones-device"
  /** The same for each of the call's origins. */
  | "clones-devices"
  /** The device that the call names may be looked at. */
  | "sees-device"
  /** The device that the call names is one's own, or the policy lets the caller touch it. */
  | "owns-device"
  /** The reference that the call names is one's own. */
  | "holds-reference";

export interface MethodPolicy {
  readonly rule: Rule;
  /** The parameter that names what the rule is about; undefined: the pool as a whole. */
  readonly object: "name" | "origin" | "device" | "reference" | undefined;
  /** The parameter that names the device whose operations wait for each other; undefined: no turn. */
  readonly turn: "name" | "device" | "reference" | undefined;
  /** A token of this verb does instead of the rule; the call carries it as `token`. */
  readonly token?: TokenVerb;
}

export const policy: Readonly<Record<MethodName, MethodPolicy>> = {
  "pool.status": { rule: "anyone", object: undefined, turn: undefined },
  "pool.forecast": { rule: "anyone", object: undefined, turn: undefined },
  "pool.usage": { rule: "anyone", object: undefined, turn: undefined },
  "pool.check": { rule: "root", object: undefined, turn: undefined },
  "pool.backup": { rule: "root", object: undefined, turn: undefined },
  "pool.backups": { rule: "root", object: undefined, turn: undefined },
  "pool.extend": { rule: "root", object: undefined, turn: undefined },
  "pool.spacePolicy": { rule: "root", object: undefined, turn: undefined },
  "pool.setSpacePolicy": { rule: "root", object: undefined, turn: undefined },
  // Which events, and which devices, the handler looks at.
  "events.next": { rule: "anyone", object: undefined, turn: undefined },
  "events.list": { rule: "anyone", object: undefined, turn: undefined },
  "device.create": { rule: "creates", object: "name", turn: "name" },
  // No turn as a whole: each step of it has its own.
  "device.import": { rule: "creates-or-clones", object: "name", turn: undefined },
  // Who may have a copy may have the files.
  "device.export": { rule: "clones-device", object: "name", turn: undefined },
  "device.clone": { rule: "clones-device", object: "origin", turn: "name", token: "clone" },
  // Whether the origin may be seen, the handler looks at.
  "device.list": { rule: "anyone", object: undefined, turn: undefined },
  "device.get": { rule: "sees-device", object: "name", turn: undefined },
  "device.snapshotMany": { rule: "clones-devices", object: undefined, turn: undefined },
  "device.rename": { rule: "owns-device", object: "name", turn: "name" },
  "device.update": { rule: "owns-device", object: "name", turn: "name" },
  "device.resize": { rule: "owns-device", object: "name", turn: "name" },
  // Whether what is on the snapshot may be read, the handler looks at.
  "device.revert": { rule: "owns-device", object: "name", turn: "name" },
  // Whether the older one may be seen, the handler looks at.
  "device.changedBlocks": { rule: "sees-device", object: "name", turn: undefined },
  // No turn: it may take minutes, and its mount keeps the device from being removed meanwhile.
  "device.trim": { rule: "owns-device", object: "name", turn: undefined },
  "device.publish": { rule: "root", object: "name", turn: "name" },
  "device.remove": { rule: "owns-device", object: "name", turn: "name" },
  "mount.create": {
    rule: "owns-device",
    object: "device",
    turn: "device",
    token: "mount-read-only",
  },
  // No token: what is on a device is its owner's to write past the filesystem.
  "device.activate": { rule: "owns-device", object: "name", turn: "name" },
  "mount.renew": { rule: "holds-reference", object: "reference", turn: "reference" },
  "mount.release": { rule: "holds-reference", object: "reference", turn: "reference" },
  "mount.list": { rule: "anyone", object: undefined, turn: undefined },
  "policy.whoami": { rule: "open", object: undefined, turn: undefined },
  "policy.test": { rule: "root", object: undefined, turn: undefined },
  "token.create": { rule: "owns-device", object: "device", turn: "device" },
  // Whose token it is, the handler looks at: another's and none look the same.
  "token.revoke": { rule: "anyone", object: undefined, turn: undefined },
  // That one who is not root names no other user, the handler looks at.
  "token.createConnect": { rule: "connects", object: undefined, turn: undefined },
  "token.listConnect": { rule: "anyone", object: undefined, turn: undefined },
  "token.list": { rule: "anyone", object: undefined, turn: undefined },
  // Whose session it is, its secret proves.
  "session.resume": { rule: "anyone", object: undefined, turn: undefined },
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

/** A device as the judgement needs it. */
export interface JudgedDevice extends DeviceFacts {
  readonly uuid: string;
}

/** What the judgement asks. */
export interface PolicyFacts {
  /** As it is now. */
  policy(): Policy;
  /** Undefined where there is no such device. */
  device(name: string): JudgedDevice | undefined;
  /** Undefined where there is no such reference. */
  referenceHolder(id: string): number | undefined;
  /** The id of the token that allows it; undefined where that secret does not. */
  token(use: {
    readonly secret: string;
    readonly deviceUuid: string;
    readonly verb: TokenVerb;
    readonly uid: number;
  }): string | undefined;
}

/** `rule` is the one that decided, for the audit log. */
export type Verdict =
  | { readonly allowed: true; readonly rule: string }
  | {
      readonly allowed: false;
      readonly rule: string;
      readonly code: ErrorCode;
      readonly reason: string;
      /** The device that it is about, which need not be the call's object: an origin. */
      readonly device?: string;
    };

/** A parameter by its name; undefined where the method has none of that name. */
export function paramOf(request: KnownRequest, name: string | undefined): string | undefined {
  const value: unknown = Object.entries(request.params).find(([key]) => key === name)?.[1];
  return typeof value === "string" ? value : undefined;
}

/** The object that a call is about: a name, a reference, or "the pool". */
export function objectOf(request: KnownRequest): string {
  return paramOf(request, policy[request.method].object) ?? "the pool";
}

const DEVICE_VERBS = {
  "clones-device": "clone",
  "sees-device": "see",
  "owns-device": "touch",
} as const satisfies Partial<Record<Rule, Verb>>;

/** The decision, before the handler runs. What does not exist is refused to root as well. */
export function judge(principal: Principal, request: KnownRequest, facts: PolicyFacts): Verdict {
  const { rule } = policy[request.method];
  const object = objectOf(request);
  switch (rule) {
    case "open":
      return { allowed: true, rule: "open" };
    case "anyone":
      return verdictOf(decide(facts.policy(), principal, "use", undefined), NO_RULE_FOR_YOU);
    case "creates":
      return verdictOf(decide(facts.policy(), principal, "create", undefined), ADMINS_ONLY);
    case "creates-or-clones": {
      const origin = paramOf(request, "origin");
      return origin === undefined
        ? verdictOf(decide(facts.policy(), principal, "create", undefined), ADMINS_ONLY)
        : judgeDevice(principal, { request, name: origin, verb: "clone" }, facts);
    }
    case "connects":
      return verdictOf(decide(facts.policy(), principal, "connect", undefined), ADMINS_ONLY);
    case "clones-devices":
      return judgeOrigins(principal, request, facts);
    case "clones-device":
    case "sees-device":
    case "owns-device":
      return judgeDevice(principal, { request, name: object, verb: DEVICE_VERBS[rule] }, facts);
    case "holds-reference":
      return judgeReference(principal, facts.referenceHolder(object));
    case "root":
    default:
      return verdictOf(decide(facts.policy(), principal, "admin", undefined), ADMINS_ONLY);
  }
}

const ADMINS_ONLY = "the policy does not let you do this";
const NO_RULE_FOR_YOU = "no rule of the policy is about you";

function verdictOf({ allowed, rule }: Decision, reason: string): Verdict {
  return allowed ? { allowed, rule } : { allowed, rule, code: "FORBIDDEN", reason };
}

/** Another's reference and none look the same. One's own can be given up whatever the policy says. */
function judgeReference(principal: Principal, holder: number | undefined): Verdict {
  if (holder !== undefined && principal.uid === holder) return { allowed: true, rule: "holder" };
  if (holder !== undefined && principal.uid === 0) return { allowed: true, rule: ROOT_RULE };
  const reason = "you hold no such reference";
  return { allowed: false, rule: NO_RULE, code: "NOT_MOUNTED", reason };
}

/** The first refusal counts. */
function judgeOrigins(principal: Principal, request: KnownRequest, facts: PolicyFacts): Verdict {
  const snapshots = request.method === "device.snapshotMany" ? request.params.snapshots : [];
  const verdicts = snapshots.map(({ origin }) =>
    judgeDevice(principal, { request, name: origin, verb: "clone" }, facts),
  );
  const missing = {
    allowed: false,
    rule: NO_RULE,
    code: "NOT_FOUND",
    reason: "no origin",
  } as const;
  return verdicts.find(({ allowed }) => !allowed) ?? verdicts[0] ?? missing;
}

function judgeDevice(
  principal: Principal,
  asked: { readonly request: KnownRequest; readonly name: string; readonly verb: Verb },
  facts: PolicyFacts,
): Verdict {
  const { request, name, verb } = asked;
  const device = facts.device(name);
  const missing = {
    allowed: false,
    rule: NO_RULE,
    code: "NOT_FOUND",
    reason: "there is no such device",
    device: name,
  } as const;
  if (device === undefined) return missing;
  const decision = decide(facts.policy(), principal, verb, { device });
  if (decision.allowed) return { allowed: true, rule: decision.rule };
  const token = tokenOf(principal, request, device, facts);
  if (token !== undefined) return { allowed: true, rule: `token ${token}` };
  const sees = decide(facts.policy(), principal, "see", { device });
  if (!sees.allowed) return missing;
  const reason = device.ownerUid === 0 ? "it belongs to root: clone it" : "it belongs to another";
  return { allowed: false, rule: NO_RULE, code: "FORBIDDEN", reason, device: name };
}

function tokenOf(
  { uid }: Principal,
  request: KnownRequest,
  { uuid }: JudgedDevice,
  facts: PolicyFacts,
): string | undefined {
  const { token: verb } = policy[request.method];
  const secret = paramOf(request, "token");
  if (verb === undefined || secret === undefined) return undefined;
  const readOnly = "readOnly" in request.params && request.params.readOnly === true;
  if (verb === "mount-read-only" && !readOnly) return undefined;
  return facts.token({ secret, deviceUuid: uuid, verb, uid });
}
