/** The entry in Node: `connect` finds the local daemon. */
import type { Client, ConnectOptions } from "./client.ts";
import { connectBy } from "./client.ts";
import { chooseSocketPath, unixSocketDialler } from "./unix-socket.ts";

export * from "./common.ts";

export interface LocalConnectOptions extends ConnectOptions {
  /** Default: THINPOOL_SOCKET of the environment, else /run/thinpool/thinpool.sock. */
  readonly socketPath?: string;
}

/**
 * Connects to the daemon of this machine. Rejects with ThinpoolError: DAEMON_UNREACHABLE,
 * SOCKET_FORBIDDEN, TIMEOUT, ABORTED, ARGUMENT_INVALID, PROTOCOL.
 */
export async function connect(options: LocalConnectOptions = {}): Promise<Client> {
  const socketPath = chooseSocketPath(options.socketPath, process.env);
  return connectBy(unixSocketDialler(socketPath), options);
}
