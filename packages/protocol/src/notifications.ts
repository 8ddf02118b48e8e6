/** Messages without an answer. A peer that does not know one ignores it. */
import * as v from "valibot";
import { requestId } from "./envelopes.ts";
import { count, u64 } from "./methods/scalars.ts";
import { session } from "./methods/session.ts";

/** The limits that the daemon keeps on a connection, and that its client had better keep by itself. */
export const limits = v.object({
  requestBytes: count,
  responseBytes: count,
  requestsInFlight: count,
  /** The daemon pings this often; who hears nothing for twice as long is cut off. */
  heartbeatIntervalMs: count,
  /** How long an idempotency key is remembered, and how many of one user at most. */
  idempotencyKeyLifetimeMs: count,
  idempotencyKeys: count,
});

/** Daemon to client. */
export const daemonNotifications = {
  hello: {
    summary: "The first message of a connection: who serves it, what it can do, and its session.",
    params: v.object({
      protocol: v.string(),
      /** The daemon's own version. */
      version: v.string(),
      /** What a client may count on; a name that it does not know is nothing to it. */
      features: v.array(v.string()),
      limits,
      session,
    }),
  },
  "request.progress": {
    summary: "How far a request is that takes long.",
    params: v.object({
      id: requestId,
      done: u64,
      /** Where it is known beforehand. */
      total: v.optional(u64),
      unit: v.picklist(["bytes", "devices", "files"]),
    }),
  },
} as const;

/** Client to daemon. */
export const clientNotifications = {
  "request.cancel": {
    summary: "The answer to a request is no longer wanted; there is one all the same.",
    params: v.object({ id: requestId }),
  },
} as const;

export type DaemonNotificationName = keyof typeof daemonNotifications;
export type DaemonNotification = {
  [N in DaemonNotificationName]: {
    readonly method: N;
    readonly params: v.InferOutput<(typeof daemonNotifications)[N]["params"]>;
  };
}[DaemonNotificationName];

export type Hello = v.InferOutput<(typeof daemonNotifications)["hello"]["params"]>;
export type Limits = v.InferOutput<typeof limits>;
export type Progress = v.InferOutput<(typeof daemonNotifications)["request.progress"]["params"]>;

export function isDaemonNotificationName(text: string): text is DaemonNotificationName {
  return Object.hasOwn(daemonNotifications, text);
}
