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
  /** Of streams (feature "streams"): the payload of a part, what may be on its way, and how many at once. */
  streamPayloadBytes: v.optional(count),
  streamWindowBytes: v.optional(count),
  streams: v.optional(count),
});

/** Of this connection; 0 is none. */
const streamNumber = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff_ffff));

/** By who receives a stream: how far it has come, and how far the other end may send. */
export const streamWindow = v.object({
  stream: streamNumber,
  /** All before this offset has been taken, and is not asked for again. */
  taken: u64,
  /** All before this offset may be sent. */
  window: u64,
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
  "stream.opened": {
    summary: "A request's stream can begin, or go on after a cut, under this number.",
    params: v.object({
      /** The request's. */
      id: requestId,
      stream: streamNumber,
      /** "to-daemon": send from `offset` on. "to-client": all from `offset` on can be asked for. */
      direction: v.picklist(["to-daemon", "to-client"]),
      offset: u64,
      /** As of `stream.window`; to a client nothing is sent before its own first one. */
      window: u64,
    }),
  },
  "stream.window": {
    summary: "How far the daemon has taken a stream, and how far it may be sent.",
    params: streamWindow,
  },
} as const;

/** Client to daemon. */
export const clientNotifications = {
  "request.cancel": {
    summary: "The answer to a request is no longer wanted; there is one all the same.",
    params: v.object({ id: requestId }),
  },
  "stream.window": {
    summary: "How far the client has taken a stream, and how far it may be sent.",
    params: streamWindow,
  },
} as const;

export type DaemonNotificationName = keyof typeof daemonNotifications;
export type DaemonNotification = {
  [N in DaemonNotificationName]: {
    readonly method: N;
    readonly params: v.InferOutput<(typeof daemonNotifications)[N]["params"]>;
  };
}[DaemonNotificationName];

export type StreamOpened = v.InferOutput<(typeof daemonNotifications)["stream.opened"]["params"]>;
export type StreamWindow = v.InferOutput<typeof streamWindow>;
export type Hello = v.InferOutput<(typeof daemonNotifications)["hello"]["params"]>;
export type Limits = v.InferOutput<typeof limits>;
export type Progress = v.InferOutput<(typeof daemonNotifications)["request.progress"]["params"]>;

export function isDaemonNotificationName(text: string): text is DaemonNotificationName {
  return Object.hasOwn(daemonNotifications, text);
}
