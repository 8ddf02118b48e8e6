/**
 * The half of the daemon that reads clients' bytes: the HTTP upgrade, WebSocket, JSON, schemas, limits,
 * heartbeats. It decides nothing and knows nobody: what is well-formed goes to the back.
 */
import type { IncomingMessage, Server } from "node:http";
import { createServer } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { HEARTBEAT_INTERVAL_MS, MAX_REQUEST_BYTES, SUBPROTOCOL } from "@thinpool/protocol";
import { WebSocketServer } from "ws";
import type { ToBack, ToConnection, ToFront } from "../server/channel.ts";
import { refuseConnection } from "../server/refuse-connection.ts";
import { Session } from "./session.ts";
import { Transfers } from "./transfers.ts";

/** From the connection to the end of the upgrade request. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 8 * 1024;
/** RFC 6455, section 7.4.1: cut, or never opened. */
const CLOSE_ABNORMAL = 1006;

/** An adopted socket until it is a WebSocket. */
interface Handshake {
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
}

export class Front {
  readonly #send: (message: ToBack) => void;
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  readonly #numbers = new WeakMap<Duplex, number>();
  readonly #handshakes = new Map<number, Handshake>();
  readonly #sessions = new Map<number, Session>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #transfers: Transfers;

  constructor(send: (message: ToBack) => void) {
    this.#send = send;
    this.#transfers = new Transfers(send);
    this.#http = createServer({ maxHeaderSize: MAX_HEADER_BYTES });
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: MAX_REQUEST_BYTES,
      perMessageDeflate: false,
      handleProtocols: () => SUBPROTOCOL,
    });
    this.#http.on("request", (_request, response) => {
      response.writeHead(426, { Connection: "close", Upgrade: "websocket" });
      response.end(`This is thinpoold: connect by WebSocket with subprotocol ${SUBPROTOCOL}.\n`);
    });
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#heartbeat = setInterval(() => {
      for (const session of this.#sessions.values()) session.beat();
    }, HEARTBEAT_INTERVAL_MS);
    this.#heartbeat.unref();
  }

  /** Takes a connection over, of which nothing was read. */
  adopt(connection: number, socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS);
    this.#handshakes.set(connection, { socket, timer });
    this.#numbers.set(socket, connection);
    socket.on("error", () => {
      // "close" follows.
    });
    socket.once("close", () => {
      // Where there is a session, its own "closed" was or will be the last word.
      if (this.#endHandshake(connection)) {
        this.#send({ type: "closed", connection, code: CLOSE_ABNORMAL });
      }
    });
    this.#http.emit("connection", socket);
    socket.resume();
  }

  receive(message: ToFront): void {
    if (message.type === "transfer") this.#transfers.begin(message);
    else if (message.type === "withdraw") this.#transfers.withdraw(message.transfer);
    else this.#receiveFor(message);
  }

  #receiveFor(message: ToConnection): void {
    const session = this.#sessions.get(message.connection);
    switch (message.type) {
      case "answer":
        session?.answer(message.id, message.text);
        return;
      case "push":
        session?.send(message.text);
        return;
      case "close":
        this.#handshakes.get(message.connection)?.socket.destroy();
        session?.close(message.code, message.reason);
    }
  }

  /** Cuts all connections. */
  end(): void {
    clearInterval(this.#heartbeat);
    for (const { socket } of this.#handshakes.values()) socket.destroy();
    for (const session of this.#sessions.values()) session.terminate();
    this.#transfers.end();
  }

  /** False where it had ended before. */
  #endHandshake(connection: number): boolean {
    clearTimeout(this.#handshakes.get(connection)?.timer);
    return this.#handshakes.delete(connection);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const connection = this.#numbers.get(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",");
    if (!offered.some((name) => name.trim() === SUBPROTOCOL)) {
      refuseConnection(socket, "400 Bad Request", `Offer the subprotocol ${SUBPROTOCOL}.`);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#endHandshake(connection);
      const session = new Session({
        socket: webSocket,
        connection,
        send: this.#send,
        transfers: this.#transfers,
      });
      this.#sessions.set(connection, session);
      webSocket.once("close", (code) => {
        this.#sessions.delete(connection);
        this.#transfers.closed(connection);
        this.#send({ type: "closed", connection, code });
      });
      this.#send({ type: "opened", connection });
    });
  }
}
