/** What the client needs of a connection, whatever carries it. */

export interface Connection {
  /** Whether `ping` is heard; a browser keeps pings to itself. */
  readonly hearsPings: boolean;
  /** A text message, or a binary one. */
  send(data: string | Uint8Array<ArrayBuffer>): void;
  /** Says goodbye and waits for the other end's, at most `timeoutMs`; then cuts. */
  close(timeoutMs: number): Promise<void>;
  /** Ends it at once; the listener hears `lost`. */
  cut(reason: string): void;
  /** One listener, the last one given. Hears `lost` at once where the connection is over already. */
  listen(listener: ConnectionListener): void;
}

export interface ConnectionListener {
  message(data: string | Uint8Array): void;
  /** The other end gave a sign of life that is no message. */
  ping(): void;
  /** Once, and last. `code`: RFC 6455's, where the connection was closed by one. */
  lost(reason: string, code?: number): void;
}

export interface DialOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a connection. Rejects with ThinpoolError: DAEMON_UNREACHABLE, SOCKET_FORBIDDEN, UNAUTHORIZED,
 * TLS_FAILED, TIMEOUT, ABORTED.
 */
export interface Dialler {
  /** Where to, for messages. */
  readonly address: string;
  dial(options: DialOptions): Promise<Connection>;
}
