/** The platform's own WebSocket, in browsers and wherever else there is one. */
import { MAX_RESPONSE_BYTES, SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from "@thinpool/protocol";
import type { Connection, ConnectionListener, DialOptions, Dialler } from "./connection.ts";
import { clientError } from "./errors.ts";
import { within } from "./wait.ts";

const CLOSE_NORMAL = 1000;
/** RFC 6455: what an application may send itself begins at 4000. */
const CLOSE_CUT = 4000;

/** `token`: shown as a subprotocol, since a page can set no header. */
export function webSocketDialler(url: string, token: string | undefined): Dialler {
  const offered = [SUBPROTOCOL];
  if (token !== undefined) offered.push(`${TOKEN_SUBPROTOCOL_PREFIX}${token}`);
  return { address: url, dial: (options) => dial(url, offered, options) };
}

async function dial(url: string, offered: string[], options: DialOptions): Promise<Connection> {
  const context = { operation: "connect", object: url };
  let socket: WebSocket;
  try {
    socket = new WebSocket(url, offered);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw clientError("ARGUMENT_INVALID", { ...context, reason, cause: error });
  }
  const connection = new PlatformConnection(socket);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  socket.addEventListener("open", () => resolve(undefined));
  socket.addEventListener("close", ({ code }) => {
    // A browser does not tell a page why.
    const reason = `the connection was not made (code ${code})`;
    reject(clientError("DAEMON_UNREACHABLE", { ...context, reason }));
  });
  try {
    await within(promise, options, context);
  } catch (error) {
    socket.close();
    throw error;
  }
  return connection;
}

class PlatformConnection implements Connection {
  readonly hearsPings = false;
  readonly #socket: WebSocket;
  readonly #early: (string | Uint8Array)[] = [];
  #listener: ConnectionListener | undefined;
  #over: string | undefined;
  #code: number | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }: { readonly data: unknown }) => {
      if (this.#over !== undefined) return;
      const message = data instanceof ArrayBuffer ? new Uint8Array(data) : String(data);
      if (message.length > MAX_RESPONSE_BYTES) this.cut("the daemon's message is too large");
      else if (this.#listener === undefined) this.#early.push(message);
      else this.#listener.message(message);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.#code = code;
      this.#end(reason === "" ? `code ${code}` : `code ${code}: ${reason}`);
    });
  }

  listen(listener: ConnectionListener): void {
    this.#listener = listener;
    for (const message of this.#early.splice(0)) listener.message(message);
    if (this.#over !== undefined) listener.lost(this.#over, this.#code);
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  cut(reason: string): void {
    this.#socket.close(CLOSE_CUT);
    // The platform waits for the other end's goodbye; this side does not.
    this.#end(reason);
  }

  async close(timeoutMs: number): Promise<void> {
    if (this.#over !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), timeoutMs);
    this.#socket.addEventListener("close", () => resolve(undefined));
    this.#socket.close(CLOSE_NORMAL);
    await promise;
    clearTimeout(timer);
  }

  #end(reason: string): void {
    if (this.#over !== undefined) return;
    this.#over = `the connection was cut (${reason})`;
    this.#listener?.lost(this.#over, this.#code);
  }
}
