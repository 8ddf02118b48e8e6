/**
 * The policy as the daemon keeps it, and the one decision function: pure. Rules only ever allow: the
 * first in the file's order that is about the caller and allows what is asked decides; where there is
 * none the answer is no. So a rule that is added takes nothing from anybody.
 */

/** The part of a principal that rules are about. Groups: the primary one and the supplementary ones. */
export interface Who {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Of users: all, or these. */
export type Users = "all" | ReadonlySet<number>;

export interface Limits {
  readonly devices: number;
  /** Sum of the sizes that the user's devices show; undefined: no limit. */
  readonly virtualBytes: bigint | undefined;
  /** Sum of what the user's devices map of the pool; undefined: no limit. */
  readonly mappedBytes: bigint | undefined;
  readonly mounts: number;
  readonly leases: number;
  /** The longest that a lease lasts from one renewal to the next. */
  readonly holdMs: number;
  readonly requestsInFlight: number;
  readonly requestsPerSecond: number;
  /** The longest that a call waits for its end before it is answered TIMEOUT. */
  readonly requestMs: number;
}

export interface Rule {
  readonly name: string;
  readonly users: Users;
  readonly groups: ReadonlySet<number>;
  readonly create: boolean;
  readonly clonePublic: boolean;
  /** Root's devices whose names match may be cloned, public or not. */
  readonly cloneNames: readonly RegExp[];
  /** Whose devices, besides one's own, may be looked at. */
  readonly see: Users;
  /** Whose devices, besides one's own, may be mounted and removed. */
  readonly touch: Users;
  /** For whom it may act. */
  readonly onBehalfOf: Users;
  /** What only root may do otherwise. */
  readonly admin: boolean;
  /** Tokens to connect over TCP as oneself. */
  readonly connect: boolean;
  /** Folders below these may be mounted on by their owners. */
  readonly mountRoots: readonly string[];
  readonly noExec: boolean | undefined;
  readonly noSymFollow: boolean | undefined;
  readonly permanentMounts: boolean;
  readonly otherNamespaces: boolean;
  readonly blockDevices: boolean;
  readonly lazyUnmountAfterMs: number | undefined;
  readonly limits: Partial<Limits>;
}

export interface Policy {
  readonly rules: readonly Rule[];
}

/** A device as rules see it. */
export interface DeviceFacts {
  readonly name: string;
  readonly ownerUid: number;
  readonly isPublic: boolean;
}

export type Verb =
  /** To ask for the pool's state and for lists: anybody whom a rule is about. */
  "use" | "create" | "clone" | "see" | "touch" | "admin" | "on-behalf-of" | "connect";

export const verbs: readonly Verb[] = [
  "use",
  "create",
  "clone",
  "see",
  "touch",
  "admin",
  "on-behalf-of",
  "connect",
];

/** What a verb is done to; undefined where it is the pool as a whole. */
export type DecisionObject =
  | { readonly device: DeviceFacts }
  | { readonly uid: number }
  | undefined;

export interface Decision {
  readonly allowed: boolean;
  /** The rule that decided: its name, "root", or "no rule". */
  readonly rule: string;
}

export const ROOT_RULE = "root";
export const NO_RULE = "no rule";

const NOBODY: ReadonlySet<number> = new Set();

/** Allows nothing but what any rule does: to use one's own. */
export const EMPTY_RULE: Rule = {
  name: "",
  users: NOBODY,
  groups: NOBODY,
  create: false,
  clonePublic: false,
  cloneNames: [],
  see: NOBODY,
  touch: NOBODY,
  onBehalfOf: NOBODY,
  admin: false,
  connect: false,
  mountRoots: [],
  noExec: undefined,
  noSymFollow: undefined,
  permanentMounts: false,
  otherNamespaces: false,
  blockDevices: false,
  lazyUnmountAfterMs: undefined,
  limits: {},
};

export function includes(users: Users, uid: number): boolean {
  return users === "all" || users.has(uid);
}

/** Is the rule about this caller? */
export function concerns(rule: Rule, who: Who): boolean {
  if (includes(rule.users, who.uid)) return true;
  return rule.groups.has(who.gid) || who.groups.some((gid) => rule.groups.has(gid));
}

export function decide(policy: Policy, who: Who, verb: Verb, object: DecisionObject): Decision {
  if (who.uid === 0) return { allowed: true, rule: ROOT_RULE };
  const rule = policy.rules.find((candidate) => {
    return concerns(candidate, who) && allows(candidate, who, verb, object);
  });
  return rule === undefined
    ? { allowed: false, rule: NO_RULE }
    : { allowed: true, rule: rule.name };
}

function allows(rule: Rule, who: Who, verb: Verb, object: DecisionObject): boolean {
  const device = object !== undefined && "device" in object ? object.device : undefined;
  switch (verb) {
    case "use":
      return true;
    case "create":
      return rule.create;
    case "admin":
      return rule.admin;
    case "connect":
      return rule.connect;
    case "on-behalf-of":
      // Nobody becomes root: who is to have root's rights is made an administrator.
      if (object === undefined || !("uid" in object) || object.uid === 0) return false;
      return includes(rule.onBehalfOf, object.uid);
    case "clone":
      return device !== undefined && (isOwn(device, who) || isImageFor(rule, device));
    case "touch":
      return device !== undefined && (isOwn(device, who) || includes(rule.touch, device.ownerUid));
    case "see":
      return (
        device !== undefined &&
        (isOwn(device, who) ||
          isImageFor(rule, device) ||
          includes(rule.see, device.ownerUid) ||
          includes(rule.touch, device.ownerUid))
      );
    default:
      return false;
  }
}

function isOwn(device: DeviceFacts, who: Who): boolean {
  return device.ownerUid === who.uid;
}

/** Images are root's: a name that a user gave to a device of his own opens it to nobody. */
function isImageFor(rule: Rule, { name, ownerUid, isPublic }: DeviceFacts): boolean {
  if (ownerUid !== 0) return false;
  return (rule.clonePublic && isPublic) || rule.cloneNames.some((pattern) => pattern.test(name));
}

/** Each limit is that of the first rule about the caller that states it; else the default. */
export function limitsOf(policy: Policy, who: Who, defaults: Limits): Limits {
  const own = policy.rules.filter((rule) => concerns(rule, who));
  return Object.assign({}, defaults, ...own.toReversed().map(({ limits }) => limits)) as Limits;
}
