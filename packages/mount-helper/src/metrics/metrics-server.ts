/**
 * Serves the metrics on a Unix socket or a loopback port of its own. Whoever connects and sends
 * something is sent the metrics, as an HTTP response, whatever it asked for: this process has
 * privileges, so it parses nothing that comes from outside.
 */
import { chmod, lstat, unlink } from "node:fs/promises";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import { dirname, isAbsolute } from "node:path";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import { ensureServiceFolder } from "../mounts/folders.ts";
import { StartError } from "../start-error.ts";
import type { Metrics } from "./metrics.ts";

/** Scrapers at the same time; further ones are cut. */
const MAX_SCRAPERS = 8;
/** From the connection to the last byte. */
const SCRAPE_TIMEOUT_MS = 10_000;
const SOCKET_MODE = 0o600;
const LOOPBACK = "127.0.0.1";
const MAX_PORT = 65_535;

/** A Unix socket's absolute path, or a port on 127.0.0.1. */
export type MetricsAddress = { readonly path: string } | { readonly port: number };

/** "/run/thinpool/metrics.sock" or "9464". Throws StartError with OPTION_INVALID. */
export function parseMetricsAddress(text: string): MetricsAddress {
  if (isAbsolute(text)) return { path: text };
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port > 0 && port <= MAX_PORT) return { port };
  throw new StartError({
    code: "OPTION_INVALID",
    object: JSON.stringify(text),
    reason: "it is neither an absolute path nor a port",
    hint: "Give the path of a socket to be made, or a port of 127.0.0.1.",
  });
}

/** A predecessor's: the folder is root's alone. A file that is no socket stays, and listening fails. */
async function removeSocket(path: string): Promise<void> {
  try {
    if ((await lstat(path)).isSocket()) await unlink(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

export class MetricsServer {
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(metrics: Metrics, logger: Logger) {
    this.#metrics = metrics;
    this.#logger = logger;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_SCRAPERS;
  }

  /** A socket's file is made anew, for root only. Rejects with StartError. */
  static async listen(
    address: MetricsAddress,
    metrics: Metrics,
    logger: Logger,
  ): Promise<MetricsServer> {
    const server = new MetricsServer(metrics, logger);
    try {
      if ("path" in address) await server.#listenOnSocket(address.path);
      else await server.#listen({ host: LOOPBACK, port: address.port });
    } catch (error) {
      throw new StartError({
        code: "SOCKET_IN_USE",
        object: "path" in address ? address.path : `${LOOPBACK}:${address.port}`,
        reason: `the metrics can't be served there: ${error instanceof Error ? error.message : String(error)}`,
        hint: "Name another place with --metrics.",
        cause: error,
      });
    }
    return server;
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#server.close(() => resolve(undefined));
    for (const socket of this.#sockets) socket.destroy();
    await promise;
  }

  async #listenOnSocket(path: string): Promise<void> {
    await ensureServiceFolder(dirname(path));
    await removeSocket(path);
    await this.#listen({ path });
    await chmod(path, SOCKET_MODE);
  }

  async #listen(options: { path: string } | { host: string; port: number }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#server.once("error", reject);
    this.#server.listen(options, () => resolve(undefined));
    await promise;
    this.#server.off("error", reject);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {
      // The scraper is gone: there is nobody to tell.
    });
    const timer = setTimeout(() => socket.destroy(), SCRAPE_TIMEOUT_MS);
    socket.once("close", () => clearTimeout(timer));
    socket.once("data", () => {
      // What follows of the request is read and dropped: unread, it would cut the answer short.
      socket.resume();
      void this.#answer(socket);
    });
  }

  /** Never rejects. */
  async #answer(socket: Socket): Promise<void> {
    try {
      const body = await this.#metrics.text();
      const lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        `Content-Length: ${Buffer.byteLength(body)}`,
        "Connection: close",
      ];
      socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
    } catch (error) {
      this.#logger.log("error", "metrics-failed", { error: errorText(error) });
      socket.destroy();
    }
  }
}
