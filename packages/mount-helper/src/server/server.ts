/**
 * The WebSocket server on a Unix socket. Who a client is, the kernel says (SO_PEERCRED): a connection
 * about which it leaves a doubt is cut before a byte is read.
 */
import type { IncomingMessage, Server } from "node:http";
import { createServer } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  HEARTBEAT_INTERVAL_MS,
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_PER_UID,
  MAX_REQUEST_BYTES,
  SUBPROTOCOL,
} from "@thinpool/protocol";
import { peerCredentials, socketFd } from "@thinpool/thinpool";
import { WebSocketServer } from "ws";
import type { Dispatcher } from "../dispatch.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import { Session } from "./session.ts";
import type { BoundSocket } from "./socket.ts";
import { bindSocket } from "./socket.ts";

/** From the connection to the end of the upgrade request. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
const HANDSHAKE_CHECK_INTERVAL_MS = 1_000;
const MAX_HEADER_BYTES = 8 * 1024;
/** Raw connections above the sessions: those that are about to be told that there are too many. */
const SPARE_CONNECTIONS = 32;
/** How long clients may take for the closing handshake when the daemon stops. */
const GOODBYE_TIMEOUT_MS = 1_000;

/** Who is at the other end; throws where that is not beyond doubt. */
export type Identify = (socket: Socket) => Principal;

export function identifyByKernel(socket: Socket): Principal {
  const { uid, gid, pid } = peerCredentials(socketFd(socket));
  return { uid, gid, pid };
}

export interface SocketServerOptions {
  readonly socketPath: string;
  readonly socketGroup: string | undefined;
  readonly dispatcher: Dispatcher;
  readonly logger: Logger;
  readonly identify: Identify;
}

export class SocketServer {
  readonly #options: SocketServerOptions;
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  readonly #principals = new WeakMap<Duplex, Principal>();
  readonly #sessions = new Set<Session>();
  readonly #heartbeat: NodeJS.Timeout;
  #bound: BoundSocket | undefined;
  #nextConnection = 1;

  private constructor(options: SocketServerOptions) {
    this.#options = options;
    this.#http = createServer({
      headersTimeout: HANDSHAKE_TIMEOUT_MS,
      requestTimeout: HANDSHAKE_TIMEOUT_MS,
      connectionsCheckingInterval: HANDSHAKE_CHECK_INTERVAL_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
    this.#http.maxConnections = MAX_CONNECTIONS + SPARE_CONNECTIONS;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: MAX_REQUEST_BYTES,
      perMessageDeflate: false,
      handleProtocols: () => SUBPROTOCOL,
    });
    this.#http.on("connection", (socket) => this.#identify(socket));
    this.#http.on("request", (_request, response) => {
      response.writeHead(426, { Connection: "close", Upgrade: "websocket" });
      response.end(`This is thinpoold: connect by WebSocket with subprotocol ${SUBPROTOCOL}.\n`);
    });
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#heartbeat = setInterval(() => {
      for (const session of this.#sessions) session.beat();
    }, HEARTBEAT_INTERVAL_MS);
    this.#heartbeat.unref();
  }

  static async listen(options: SocketServerOptions): Promise<SocketServer> {
    const server = new SocketServer(options);
    try {
      server.#bound = await bindSocket(server.#http, options);
    } catch (error) {
      clearInterval(server.#heartbeat);
      throw error;
    }
    return server;
  }

  /** No new connections; the sessions go on. Removes the socket's file. */
  stopAccepting(): void {
    this.#http.close();
  }

  /** Says goodbye to all, cuts those that do not answer, gives up the lock. */
  async close(): Promise<void> {
    this.stopAccepting();
    clearInterval(this.#heartbeat);
    for (const session of this.#sessions) session.goAway();
    const deadline = Date.now() + GOODBYE_TIMEOUT_MS;
    while (this.#sessions.size > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (const session of this.#sessions) session.terminate();
    this.#http.closeAllConnections();
    this.#bound?.release();
    this.#bound = undefined;
  }

  #identify(socket: Socket): void {
    try {
      this.#principals.set(socket, this.#options.identify(socket));
    } catch (error) {
      this.#options.logger.log("warn", "peer-unknown", { error: errorText(error) });
      socket.destroy();
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const principal = this.#principals.get(socket);
    if (principal === undefined) {
      socket.destroy();
      return;
    }
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",");
    if (!offered.some((name) => name.trim() === SUBPROTOCOL)) {
      refuseUpgrade(socket, "400 Bad Request", `Offer the subprotocol ${SUBPROTOCOL}.`);
      return;
    }
    const own = Array.from(this.#sessions).filter(({ uid }) => uid === principal.uid).length;
    if (this.#sessions.size >= MAX_CONNECTIONS || own >= MAX_CONNECTIONS_PER_UID) {
      const { uid, pid } = principal;
      this.#options.logger.log("warn", "too-many-connections", { uid, pid, own });
      refuseUpgrade(socket, "503 Service Unavailable", "There are too many connections.");
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = this.#nextConnection;
      this.#nextConnection += 1;
      const { dispatcher, logger } = this.#options;
      const session = new Session(webSocket, { principal, connection }, dispatcher, logger);
      this.#sessions.add(session);
      const { uid, pid } = principal;
      logger.log("info", "connected", { connection, uid, pid });
      webSocket.once("close", (code) => {
        this.#sessions.delete(session);
        logger.log("info", "disconnected", { connection, uid, code });
      });
    });
  }
}

function refuseUpgrade(socket: Duplex, status: string, text: string): void {
  const lines = [`HTTP/1.1 ${status}`, "Connection: close", "Content-Type: text/plain"];
  lines.push(`Content-Length: ${Buffer.byteLength(text)}`, "", text);
  socket.on("error", () => {
    // The client is gone before it read why it was refused: nothing is left to tell it.
  });
  socket.end(lines.join("\r\n"));
}
