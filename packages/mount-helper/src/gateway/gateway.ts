/**
 * The part of the daemon that network clients talk to: TCP, TLS, and the HTTP request by which a client
 * shows its token. It has no privileges and decides nothing: the daemon says whether a token is one, and
 * gives the socket by which the client reaches its user's worker. From then on it passes bytes on.
 */
import type { IncomingMessage, Server as HttpServer } from "node:http";
import { createServer as createHttpServer } from "node:http";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import { TLSSocket, createSecureContext } from "node:tls";
import { SUBPROTOCOL } from "@thinpool/protocol";
import { refuseConnection } from "../server/refuse-connection.ts";
import type { Certificate } from "./certificate.ts";
import { Failures, networkOf } from "./failures.ts";
import {
  GOODBYE_MS,
  MAX_HALF_OPEN,
  MAX_HALF_OPEN_PER_ADDRESS,
  MAX_HEADER_BYTES,
  MAX_TCP_CONNECTIONS,
  UPGRADE_TIMEOUT_MS,
} from "./limits.ts";
import type { FromGateway, NoteReason } from "./messages.ts";
import { addressOf, nextId } from "./messages.ts";
import { UNAUTHORIZED, judgeUpgrade } from "./upgrade-request.ts";

/** A client, from its accept(2) on. */
interface Visitor {
  readonly raw: Socket;
  readonly address: string;
  readonly timer: NodeJS.Timeout;
  /** As the daemon knows it; undefined until it is asked about it. */
  id: number | undefined;
  /** The TLS handshake is over. */
  secured: boolean;
  stage: "half-open" | "admitted";
}

/** One whose token the daemon is asked about. */
interface Asked {
  readonly visitor: Visitor;
  readonly client: Duplex;
  /** The request for the worker, and what the client has sent behind it. */
  readonly first: readonly [string, Buffer];
}

export class Gateway {
  readonly #send: (message: FromGateway) => void;
  readonly #server: Server;
  readonly #http: HttpServer;
  readonly #failures = new Failures();
  /** In the order of their coming. */
  readonly #visitors = new Set<Visitor>();
  readonly #byClient = new WeakMap<Duplex, Visitor>();
  readonly #asked = new Map<number, Asked>();
  readonly #admitted = new Map<number, Visitor>();
  #origins: ReadonlySet<string> = new Set();
  #context: SecureContext | undefined;
  #lastId = 0;

  constructor(send: (message: FromGateway) => void) {
    this.#send = send;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_TCP_CONNECTIONS;
    this.#http = createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES });
    this.#http.on("request", (_request, response) => {
      response.writeHead(426, { Connection: "close", Upgrade: "websocket" });
      response.end(`This is thinpoold: connect by WebSocket with subprotocol ${SUBPROTOCOL}.\n`);
    });
    this.#http.on("upgrade", (request, client, head) => this.#upgrade(request, client, head));
  }

  /** For who connects from now on. */
  setCertificate({ certificate, key }: Certificate): void {
    this.#context = createSecureContext({ cert: certificate, key, minVersion: "TLSv1.3" });
  }

  /** Accepts from a socket that listens already. */
  listen(descriptor: number, origins: readonly string[]): void {
    this.#origins = new Set(origins);
    this.#server.listen({ fd: descriptor });
  }

  /** `worker`: what leads to the worker of the token's user. */
  admit(id: number, worker: Socket): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    worker.on("error", () => {
      // "close" follows.
    });
    if (asked === undefined || asked.client.destroyed) {
      worker.destroy();
      return;
    }
    const { visitor, client, first } = asked;
    clearTimeout(visitor.timer);
    visitor.stage = "admitted";
    this.#admitted.set(id, visitor);
    worker.once("close", () => {
      // What the worker said last is on its way.
      client.end(() => client.destroy());
      const timer = setTimeout(() => visitor.raw.destroy(), GOODBYE_MS);
      visitor.raw.once("close", () => clearTimeout(timer));
    });
    client.once("close", () => worker.destroy());
    for (const part of first) worker.write(part);
    client.pipe(worker);
    worker.pipe(client);
  }

  refuse(id: number): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (asked === undefined) return;
    this.#failures.count(asked.visitor.address, performance.now());
    refuseConnection(asked.client, UNAUTHORIZED, "The token is not, or no longer, one.");
  }

  cut(id: number): void {
    this.#admitted.get(id)?.raw.destroy();
  }

  /** Those that are admitted stay. */
  stopAccepting(): void {
    this.#server.close();
    for (const { stage, raw } of this.#visitors) if (stage === "half-open") raw.destroy();
  }

  /** Cuts all. */
  end(): void {
    this.stopAccepting();
    for (const { raw } of this.#visitors) raw.destroy();
  }

  #accept(raw: Socket): void {
    raw.on("error", () => {
      // "close" follows.
    });
    const address = addressOf(raw.remoteAddress);
    if (this.#context === undefined) throw new Error("it listens without a certificate");
    if (!this.#hasRoomFor(address)) {
      this.#note("too many half-open connections", address);
      raw.destroy();
      return;
    }
    raw.setNoDelay(true);
    const timer = setTimeout(() => {
      this.#note("took too long", address);
      raw.destroy();
    }, UPGRADE_TIMEOUT_MS);
    const fresh = { id: undefined, secured: false, stage: "half-open" } as const;
    const visitor: Visitor = { raw, address, timer, ...fresh };
    this.#visitors.add(visitor);
    raw.once("close", () => this.#forget(visitor));
    this.#secure(visitor, this.#context);
  }

  #secure(visitor: Visitor, secureContext: SecureContext): void {
    const client = new TLSSocket(visitor.raw, { isServer: true, secureContext });
    this.#byClient.set(client, visitor);
    client.on("error", () => {
      if (!visitor.secured) this.#note("no TLS", visitor.address);
      visitor.raw.destroy();
    });
    client.once("close", () => visitor.raw.destroy());
    client.once("secure", () => {
      visitor.secured = true;
      this.#http.emit("connection", client);
    });
  }

  #upgrade(request: IncomingMessage, client: Duplex, head: Buffer): void {
    const visitor = this.#byClient.get(client);
    if (visitor === undefined) {
      client.destroy();
      return;
    }
    const { address } = visitor;
    const judged = judgeUpgrade(request.headers, this.#origins);
    if (!judged.ok) {
      this.#note(judged.note, address);
      refuseConnection(client, judged.status, judged.text);
      return;
    }
    if (!this.#failures.mayAsk(address, performance.now())) {
      this.#note("too many failed tokens", address);
      refuseConnection(client, "429 Too Many Requests", "Too many tokens were wrong: wait.");
      return;
    }
    this.#lastId = nextId(this.#lastId);
    const id = this.#lastId;
    visitor.id = id;
    this.#asked.set(id, { visitor, client, first: [judged.head, head] });
    this.#send({ type: "ask", id, token: judged.token, address });
  }

  #hasRoomFor(address: string): boolean {
    const halfOpen = Array.from(this.#visitors).filter(({ stage }) => stage === "half-open");
    const network = networkOf(address);
    const own = halfOpen.filter((visitor) => networkOf(visitor.address) === network);
    if (own.length >= MAX_HALF_OPEN_PER_ADDRESS) return false;
    if (halfOpen.length >= MAX_HALF_OPEN) halfOpen[0]?.raw.destroy();
    return true;
  }

  #forget(visitor: Visitor): void {
    clearTimeout(visitor.timer);
    this.#visitors.delete(visitor);
    if (visitor.id === undefined) return;
    this.#asked.delete(visitor.id);
    this.#admitted.delete(visitor.id);
  }

  #note(reason: NoteReason, address: string): void {
    this.#send({ type: "note", reason, address });
  }
}
