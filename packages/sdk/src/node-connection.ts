/** A WebSocket of Node's, whatever it goes over. */
import { MAX_RESPONSE_BYTES, SUBPROTOCOL } from "@thinpool/protocol";
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import type { Connection, ConnectionListener, DialOptions } from "./connection.ts";
import type { ThinpoolError } from "./errors.ts";
import { within } from "./wait.ts";

export interface NodeDial {
  /** For messages. */
  readonly address: string;
  /** Whom the HTTP request names. */
  readonly host: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A new stream to the daemon; it may still be connecting. */
  readonly open: () => Duplex;
  /** Why it could not be made, from the stream's error. */
  readonly failure: (error: unknown) => ThinpoolError;
  /** Why the daemon did not take it, from its HTTP answer. */
  readonly refusal: (status: number) => ThinpoolError;
}

export async function dialInNode(dial: NodeDial, options: DialOptions): Promise<Connection> {
  const context = { operation: "connect", object: dial.address };
  // "ws:" also over TLS: the stream is made here, and to the HTTP that goes through it is all the same.
  const socket = new WebSocket(`ws://${dial.host}/`, [SUBPROTOCOL], {
    createConnection: () => dial.open(),
    ...(dial.headers === undefined ? {} : { headers: { ...dial.headers } }),
    handshakeTimeout: options.timeoutMs,
    maxPayload: MAX_RESPONSE_BYTES,
    perMessageDeflate: false,
    followRedirects: false,
  });
  // Its messages wait for a listener: the hello may come in the same read as the handshake's end.
  const connection = new NodeConnection(socket);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  socket.once("open", () => resolve(undefined));
  socket.once("unexpected-response", (request, response) => {
    reject(dial.refusal(response.statusCode ?? 0));
    request.destroy();
  });
  socket.on("error", (error) => reject(dial.failure(error)));
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
  #code: number | undefined;

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
      this.#code = code;
      this.#reason ??= text === "" ? `code ${code}` : `code ${code}: ${text}`;
      this.#listener?.lost(`the connection was cut (${this.#reason})`, code);
    });
  }

  listen(listener: ConnectionListener): void {
    this.#listener = listener;
    for (const message of this.#early.splice(0)) listener.message(message);
    if (this.#socket.readyState === WebSocket.CLOSED) {
      listener.lost(`the connection was cut (${this.#reason ?? "no reason given"})`, this.#code);
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
