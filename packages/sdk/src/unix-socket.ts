/** The WebSocket over the Unix socket, in Node: opening it, and telling why it can't be opened. */
import { createConnection } from "node:net";
import {
  DEFAULT_SOCKET_PATH,
  MAX_RESPONSE_BYTES,
  SOCKET_ENVIRONMENT_VARIABLE,
  SUBPROTOCOL,
} from "@thinpool/protocol";
import { WebSocket } from "ws";
import type { ClientErrorCode } from "@thinpool/protocol";
import type { Connection, ConnectionListener, DialOptions, Dialler } from "./connection.ts";
import { clientError } from "./errors.ts";
import { within } from "./wait.ts";

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

export function unixSocketDialler(socketPath: string): Dialler {
  return { address: socketPath, dial: (options) => dial(socketPath, options) };
}

async function dial(socketPath: string, options: DialOptions): Promise<Connection> {
  const context = { operation: "connect", object: socketPath };
  const socket = new WebSocket("ws://localhost/", [SUBPROTOCOL], {
    createConnection: () => createConnection(socketPath),
    handshakeTimeout: options.timeoutMs,
    maxPayload: MAX_RESPONSE_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
  });
  // Its messages wait for a listener: the hello may come in the same read as the handshake's end.
  const connection = new NodeConnection(socket);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  socket.once("open", () => resolve(undefined));
  socket.on("error", (error) => {
    const { code, reason } = describeOpenFailure(error);
    reject(clientError(code, { ...context, reason, cause: error }));
  });
  try {
    await within(promise, options, context);
  } catch (error) {
    socket.terminate();
    throw error;
  }
  return connection;
}

class NodeConnection implements Connection {
  readonly hearsPings = true;
  readonly #socket: WebSocket;
  #listener: ConnectionListener | undefined;
  readonly #early: (string | Uint8Array)[] = [];
  #reason: string | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("error", (error) => {
      // "close" follows, and carries this on.
      this.#reason ??= error.message;
    });
    socket.on("message", (data, isBinary) => {
      // ws hands a message over as one Buffer (binaryType "nodebuffer").
      const message = isBinary ? (data as Buffer) : (data as Buffer).toString("utf8");
      if (this.#listener === undefined) this.#early.push(message);
      else this.#listener.message(message);
    });
    socket.on("ping", () => this.#listener?.ping());
    socket.on("close", (code, reason) => {
      const text = reason.toString("utf8");
      this.#reason ??= text === "" ? `code ${code}` : `code ${code}: ${text}`;
      this.#listener?.lost(`the connection was cut (${this.#reason})`);
    });
  }

  listen(listener: ConnectionListener): void {
    this.#listener = listener;
    for (const message of this.#early.splice(0)) listener.message(message);
    if (this.#socket.readyState === WebSocket.CLOSED) {
      listener.lost(`the connection was cut (${this.#reason ?? "no reason given"})`);
    }
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  cut(reason: string): void {
    this.#reason ??= reason;
    this.#socket.terminate();
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
