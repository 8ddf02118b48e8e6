/** The WebSocket over the Unix socket: opening it, and telling why it can't be opened. */
import { createConnection } from "node:net";
import {
  DEFAULT_SOCKET_PATH,
  MAX_RESPONSE_BYTES,
  SOCKET_ENVIRONMENT_VARIABLE,
  SUBPROTOCOL,
} from "@thinpool/protocol";
import { WebSocket } from "ws";
import type { ClientErrorCode } from "./errors.ts";
import { clientError } from "./errors.ts";

export interface ConnectionOptions {
  readonly socketPath: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** What the requests need of a connection. */
export interface Connection {
  send(text: string): void;
  /** Waits for the closing handshake, at most `timeoutMs`; then cuts. */
  close(timeoutMs: number): Promise<void>;
  /** At most one listener; `lost` comes once, after the last message. */
  listen(listener: ConnectionListener): void;
}

export interface ConnectionListener {
  message(text: string): void;
  lost(reason: string): void;
}

/** The given path, else that of the environment, else the daemon's default. */
export function chooseSocketPath(
  given: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const fromEnvironment = environment[SOCKET_ENVIRONMENT_VARIABLE];
  if (given !== undefined) return given;
  return fromEnvironment === undefined || fromEnvironment === ""
    ? DEFAULT_SOCKET_PATH
    : fromEnvironment;
}

function errnoNameOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}

/** Why a connection could not be opened, from Node's error. */
export function describeOpenFailure(error: unknown): {
  readonly code: ClientErrorCode;
  readonly reason: string;
} {
  const name = errnoNameOf(error);
  switch (name) {
    case "ENOENT":
      return { code: "DAEMON_UNREACHABLE", reason: "there is no such socket (ENOENT)" };
    case "ECONNREFUSED":
      return { code: "DAEMON_UNREACHABLE", reason: "nobody listens there (ECONNREFUSED)" };
    case "EACCES":
    case "EPERM":
      return { code: "SOCKET_FORBIDDEN", reason: `this user may not open the socket (${name})` };
    case undefined:
    default: {
      const text = error instanceof Error ? error.message : String(error);
      return { code: "DAEMON_UNREACHABLE", reason: `the daemon did not take the call: ${text}` };
    }
  }
}

/** Rejects with ThinpoolError: DAEMON_UNREACHABLE, SOCKET_FORBIDDEN, TIMEOUT, ABORTED. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { socketPath, timeoutMs, signal } = options;
  const context = { operation: "connect", object: socketPath };
  if (signal?.aborted === true) {
    throw clientError("ABORTED", { ...context, reason: "the signal was set before" });
  }
  const socket = new WebSocket("ws://localhost/", [SUBPROTOCOL], {
    createConnection: () => createConnection(socketPath),
    handshakeTimeout: timeoutMs,
    maxPayload: MAX_RESPONSE_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
  });
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const onAbort = (): void => {
    reject(
      clientError("ABORTED", { ...context, reason: "the signal was set", cause: signal?.reason }),
    );
  };
  const timer = setTimeout(() => {
    reject(clientError("TIMEOUT", { ...context, reason: `no answer within ${timeoutMs} ms` }));
  }, timeoutMs);
  const onOpen = (): void => resolve(undefined);
  const onError = (error: unknown): void => {
    const { code, reason } = describeOpenFailure(error);
    reject(clientError(code, { ...context, reason, cause: error }));
  };
  socket.once("open", onOpen);
  socket.on("error", onError);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await promise;
  } catch (error) {
    socket.terminate();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
  return new WebSocketConnection(socket);
}

class WebSocketConnection implements Connection {
  readonly #socket: WebSocket;
  #listener: ConnectionListener | undefined;
  #lastError: string | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("error", (error) => {
      // "close" follows, and carries this on to every request that waits.
      this.#lastError = error.message;
    });
    socket.on("message", (data, isBinary) => {
      if (isBinary) {
        this.#lastError = "the daemon sent a binary message";
        socket.terminate();
        return;
      }
      // ws hands text over as one Buffer (binaryType "nodebuffer").
      this.#listener?.message((data as Buffer).toString("utf8"));
    });
    socket.on("close", (code, reason) => {
      const text = reason.toString("utf8");
      const why = this.#lastError ?? (text === "" ? `code ${code}` : `code ${code}: ${text}`);
      this.#listener?.lost(`the connection was cut (${why})`);
    });
  }

  listen(listener: ConnectionListener): void {
    this.#listener = listener;
    if (this.#socket.readyState !== WebSocket.OPEN) listener.lost("the connection was cut");
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  async close(timeoutMs: number): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => this.#socket.terminate(), timeoutMs);
    this.#socket.once("close", () => resolve(undefined));
    this.#socket.close(1000);
    await promise;
    clearTimeout(timer);
  }
}
