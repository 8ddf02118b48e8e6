/** Between client and daemon: passes WebSocket messages on, and cuts the connection at a chosen one. */
import { once } from "node:events";
import { createServer } from "node:http";
import { createConnection } from "node:net";
import type { AddressInfo, ListenOptions } from "node:net";
import { SUBPROTOCOL } from "@thinpool/protocol";
import { WebSocket, WebSocketServer } from "ws";

export interface Cut {
  /** Counted over all connections, from 0. */
  readonly index: number;
  readonly direction: "to-daemon" | "to-client";
  /** "before": the message never arrives. "after": it does, and nothing after it. */
  readonly when: "before" | "after";
}

export class CuttingProxy implements AsyncDisposable {
  readonly #server = createServer();
  readonly #webSockets = new WebSocketServer({ noServer: true });
  readonly #seen = { "to-daemon": 0, "to-client": 0 };
  #cut: Cut | undefined;
  cuts = 0;

  private constructor(daemonPath: string) {
    this.#server.on("upgrade", (request, socket, head) => {
      this.#webSockets.handleUpgrade(request, socket, head, (client) => {
        const daemon = new WebSocket("ws://localhost/", [SUBPROTOCOL], {
          createConnection: () => createConnection(daemonPath),
        });
        this.#join(client, daemon);
      });
    });
  }

  /** On a Unix socket, or on a port of TCP. */
  static async listen(daemonPath: string, where: ListenOptions): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(daemonPath);
    proxy.#server.listen(where);
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** Where it listens, on a Unix socket. */
  get socketPath(): string {
    const address = this.#server.address();
    return typeof address === "string" ? address : "";
  }

  /** Where it listens, on TCP. */
  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `ws://127.0.0.1:${port}/`;
  }

  /** How many messages went by in each direction since `arm`. */
  get seen(): Readonly<Record<Cut["direction"], number>> {
    return this.#seen;
  }

  /** From now on counts anew, and cuts once; undefined: never. */
  arm(cut: Cut | undefined): void {
    this.#cut = cut;
    this.cuts = 0;
    this.#seen["to-daemon"] = 0;
    this.#seen["to-client"] = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#webSockets.clients) client.terminate();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: WebSocket, daemon: WebSocket): void {
    const early: (string | Buffer)[] = [];
    const end = (): void => {
      client.terminate();
      daemon.terminate();
    };
    const pass = (to: WebSocket, message: string | Buffer, direction: Cut["direction"]): void => {
      const index = this.#seen[direction];
      this.#seen[direction] += 1;
      const cut = this.#cut;
      const here = cut?.direction === direction && cut.index === index;
      if (here && cut.when === "before") {
        this.cuts += 1;
        end();
        return;
      }
      to.send(message, () => {
        if (!here) return;
        this.cuts += 1;
        end();
      });
    };
    const asCame = (data: Buffer, isBinary: boolean) => (isBinary ? data : data.toString("utf8"));
    client.on("message", (data: Buffer, isBinary) => {
      const message = asCame(data, isBinary);
      if (daemon.readyState === WebSocket.OPEN) pass(daemon, message, "to-daemon");
      else early.push(message);
    });
    daemon.on("message", (data: Buffer, isBinary) => {
      pass(client, asCame(data, isBinary), "to-client");
    });
    daemon.on("open", () => {
      for (const message of early.splice(0)) pass(daemon, message, "to-daemon");
    });
    for (const socket of [client, daemon]) {
      socket.on("error", end);
      socket.on("close", end);
    }
  }
}
