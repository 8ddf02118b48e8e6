/** token.*: rights given to whoever shows the token: on one device, or to connect as a user. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { deviceName, timeMs, tokenSecret, uid, uuid } from "./scalars.ts";

export const tokenVerb = v.picklist(["clone", "mount-read-only"]);
const allow = v.pipe(v.array(tokenVerb), v.minLength(1), v.maxLength(2));

export const token = v.object({
  id: uuid,
  device: deviceName,
  allow,
  /** Only this user may use it. */
  uid: v.optional(uid),
  creatorUid: uid,
  createdAtMs: timeMs,
  expiresAtMs: timeMs,
});

/** From now; at most a year. */
const lifetimeMs = v.pipe(v.number(), v.integer(), v.minValue(1000), v.maxValue(31_536_000_000));

/** Lets its bearer connect over TCP as `uid`. */
export const connectToken = v.object({
  id: uuid,
  uid,
  creatorUid: uid,
  createdAtMs: timeMs,
  expiresAtMs: timeMs,
});

export const tokenMethods = {
  "token.create": {
    changes: true,
    summary: "Makes a token for a device of one's own; its secret is told once.",
    params: v.object({
      device: deviceName,
      allow,
      uid: v.optional(uid),
      lifetimeMs,
    }),
    result: v.object({ ...token.entries, secret: tokenSecret }),
  },
  "token.revoke": {
    changes: true,
    summary: "Ends a token of one's own at once, and the connections that were made by it.",
    params: v.object({ id: uuid }),
    result: v.object({}),
  },
  "token.list": {
    changes: false,
    summary: "The tokens that the caller has made; all of them for root.",
    params: v.object({}),
    result: v.array(token),
  },
  "token.createConnect": {
    changes: true,
    summary: "Makes a token to connect over TCP as oneself, or, for root, as any user.",
    params: v.object({
      /** Default: the caller's own. */
      uid: v.optional(uid),
      lifetimeMs,
    }),
    result: v.object({ ...connectToken.entries, secret: tokenSecret }),
  },
  "token.listConnect": {
    changes: false,
    summary: "The tokens to connect by that are the caller's, or were made by him; all for root.",
    params: v.object({}),
    result: v.array(connectToken),
  },
} as const satisfies Methods;
