/** What the daemon says first on each connection. */
import { readFileSync } from "node:fs";
import {
  HEARTBEAT_INTERVAL_MS,
  KEY_LIFETIME_MS,
  MAX_KEYS_PER_UID,
  MAX_REQUESTS_IN_FLIGHT,
  MAX_REQUEST_BYTES,
  MAX_RESPONSE_BYTES,
  MAX_STREAMS_PER_CONNECTION,
  MAX_STREAM_PAYLOAD_BYTES,
  STREAM_WINDOW_BYTES,
  SUBPROTOCOL,
  encodeNotification,
} from "@thinpool/protocol";
import type { OpenedSession } from "../references/sessions.ts";

/** What came after the first release of thinpool.v1, by name; a client asks for it only where it is. */
export const FEATURES: readonly string[] = ["cancel", "idempotency-keys", "sessions", "streams"];

const MANIFEST = new URL("../../package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(MANIFEST, "utf8")) as { readonly version: string };

export function helloTo({ session, secret, graceMs }: OpenedSession): string {
  return encodeNotification({
    method: "hello",
    params: {
      protocol: SUBPROTOCOL,
      version,
      features: [...FEATURES],
      limits: {
        requestBytes: MAX_REQUEST_BYTES,
        responseBytes: MAX_RESPONSE_BYTES,
        requestsInFlight: MAX_REQUESTS_IN_FLIGHT,
        heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
        idempotencyKeyLifetimeMs: KEY_LIFETIME_MS,
        idempotencyKeys: MAX_KEYS_PER_UID,
        streamPayloadBytes: MAX_STREAM_PAYLOAD_BYTES,
        streamWindowBytes: STREAM_WINDOW_BYTES,
        streams: MAX_STREAMS_PER_CONNECTION,
      },
      session: { id: session, secret, graceMs },
    },
  });
}
