/** policy.*: who may do what. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { count, deviceName, timeMs, u64, uid } from "./scalars.ts";

/** What can be asked of the policy. "mount" and "remove" are both decided as touching the device. */
export const policyVerb = v.picklist([
  "use",
  "create",
  "clone",
  "see",
  "mount",
  "remove",
  "admin",
  "on-behalf-of",
  "connect",
]);

export const userLimits = v.object({
  devices: count,
  /** Sum of the sizes that the user's devices show; absent: no limit. */
  virtualBytes: v.optional(u64),
  /** Sum of what the user's devices map of the pool; absent: no limit. */
  mappedBytes: v.optional(u64),
  mounts: count,
  leases: count,
  holdMs: timeMs,
  requestsInFlight: count,
  requestsPerSecond: count,
  /** The longest that a call waits for its end before it is answered TIMEOUT. */
  requestMs: timeMs,
});

export const policyMethods = {
  "policy.whoami": {
    changes: false,
    summary: "Who the caller is to the daemon, and what the policy lets him do.",
    params: v.object({}),
    result: v.object({
      uid,
      gid: uid,
      groups: v.array(uid),
      /** The policy's rules that are about the caller, in its order. */
      rules: v.array(v.string()),
      create: v.boolean(),
      admin: v.boolean(),
      /** He may make tokens to connect over TCP as himself; absent in an older daemon's answer. */
      connect: v.optional(v.boolean()),
      limits: userLimits,
    }),
  },
  "policy.test": {
    changes: false,
    summary: "The rule that decides whether a user may do something; administrators only.",
    params: v.object({
      /** A uid, or a name; ids and groups are those of the daemon's machine's account files. */
      user: v.union([uid, v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/))]),
      verb: policyVerb,
      /** The device's name, for verbs that are about one. */
      device: v.optional(deviceName),
      /** The other user, for "on-behalf-of". */
      otherUid: v.optional(uid),
    }),
    result: v.object({
      allowed: v.boolean(),
      /** The deciding rule's name; "root", or "no rule". */
      rule: v.string(),
    }),
  },
} as const satisfies Methods;
