/** The entry for browsers: no Node built-ins, the platform's WebSocket. */
import { checkDaemonUrl, checkToken } from "./daemon-url.ts";
import type { Client, ConnectOptions } from "./client.ts";
import { connectBy } from "./client.ts";
import { webSocketDialler } from "./web-socket.ts";

export * from "./common.ts";

export interface WebConnectOptions extends ConnectOptions {
  /** ws: or wss:, of whatever passes the messages on to the daemon's socket. */
  readonly url: string;
  /** Of `rights.createConnectToken`, for a daemon that lets clients in over TCP. Only with wss:. */
  readonly token?: string;
}

/**
 * Connects by the platform's WebSocket. Rejects with ThinpoolError: DAEMON_UNREACHABLE (also where the
 * daemon does not take the token, its certificate is not trusted, or the page is of an origin that it does
 * not serve: a browser does not tell a page which), TIMEOUT, ABORTED, ARGUMENT_INVALID, PROTOCOL.
 */
export async function connect(options: WebConnectOptions): Promise<Client> {
  const { url, token } = options;
  // Without one the messages may go to a bridge, whatever its URL is like.
  if (token !== undefined) checkDaemonUrl(url);
  const shown = token === undefined ? undefined : checkToken(token);
  return connectBy(webSocketDialler(url, shown), options);
}
