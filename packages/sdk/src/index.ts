/** The entry in Node: `connect` finds the local daemon, or goes to another machine's. */
import type { Client, ConnectOptions } from "./client.ts";
import { connectBy } from "./client.ts";
import { clientError } from "./errors.ts";
import { tcpDialler } from "./tcp-socket.ts";
import { chooseSocketPath, unixSocketDialler } from "./unix-socket.ts";

export * from "./common.ts";

export interface LocalConnectOptions extends ConnectOptions {
  /** Default: THINPOOL_SOCKET of the environment, else /run/thinpool/thinpool.sock. */
  readonly socketPath?: string;
  readonly url?: never;
}

/** To a daemon that lets clients in over TCP. What is mounted is mounted on its machine. */
export interface TcpConnectOptions extends ConnectOptions {
  /** "wss://host:port"; ws: only to this very machine, as through a tunnel. */
  readonly url: string;
  /** Stands for the user as whom the client connects (`rights.createConnectToken`). */
  readonly token?: string;
  /** Certificates in PEM to trust in place of the system's: the daemon's own, or its issuer's. */
  readonly ca?: string;
  readonly socketPath?: never;
}

/**
 * Connects to the daemon of this machine, or, with `url`, to one that allows it over TCP. Rejects with
 * ThinpoolError: DAEMON_UNREACHABLE, SOCKET_FORBIDDEN, TIMEOUT, ABORTED, ARGUMENT_INVALID, PROTOCOL; over
 * TCP also UNAUTHORIZED (the token) and TLS_FAILED (the daemon's certificate).
 */
export async function connect(
  options: LocalConnectOptions | TcpConnectOptions = {},
): Promise<Client> {
  if (options.url === undefined) {
    const socketPath = chooseSocketPath(options.socketPath, process.env);
    return connectBy(unixSocketDialler(socketPath), options);
  }
  if (options.socketPath !== undefined) {
    const reason = "it is given beside socketPath: one of the two";
    throw clientError("ARGUMENT_INVALID", { operation: "connect", object: "the url", reason });
  }
  return connectBy(tcpDialler(options), options);
}
