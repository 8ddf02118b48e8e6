/** The entry for browsers: no Node built-ins, the platform's WebSocket. */
import type { Client, ConnectOptions } from "./client.ts";
import { connectBy } from "./client.ts";
import { webSocketDialler } from "./web-socket.ts";

export * from "./common.ts";

export interface WebConnectOptions extends ConnectOptions {
  /** ws: or wss:, of whatever passes the messages on to the daemon's socket. */
  readonly url: string;
}

/**
 * Connects by the platform's WebSocket. Rejects with ThinpoolError: DAEMON_UNREACHABLE, TIMEOUT,
 * ABORTED, ARGUMENT_INVALID, PROTOCOL.
 */
export async function connect(options: WebConnectOptions): Promise<Client> {
  return connectBy(webSocketDialler(options.url), options);
}
