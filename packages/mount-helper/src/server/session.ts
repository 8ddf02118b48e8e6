/** One client's connection: its messages in, its answers out, within the protocol's limits. */
import {
  MAX_BUFFERED_BYTES,
  MAX_REQUESTS_IN_FLIGHT,
  encodeFailure,
  errorObjectOf,
  parseRequest,
} from "@thinpool/protocol";
import type { RawData } from "ws";
import { WebSocket } from "ws";
import type { Caller, Dispatcher } from "../dispatch.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";

/** RFC 6455, section 7.4.1. */
const CLOSE_GOING_AWAY = 1001;
const CLOSE_UNSUPPORTED_DATA = 1003;

export class Session {
  readonly #socket: WebSocket;
  readonly #caller: Caller;
  readonly #dispatcher: Dispatcher;
  readonly #logger: Logger;
  #inFlight = 0;
  #alive = true;

  constructor(socket: WebSocket, caller: Caller, dispatcher: Dispatcher, logger: Logger) {
    this.#socket = socket;
    this.#caller = caller;
    this.#dispatcher = dispatcher;
    this.#logger = logger;
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("pong", () => {
      this.#alive = true;
    });
    socket.on("error", (error) => {
      // A frame that breaks the rules (too large, no UTF-8): ws closes by itself.
      this.#log("connection-error", error.message);
    });
  }

  get uid(): number {
    return this.#caller.principal.uid;
  }

  /** Cuts whoever has not answered the last ping, and pings the others. */
  beat(): void {
    if (!this.#alive) {
      this.#log("connection-cut", "no answer to a ping");
      this.#socket.terminate();
      return;
    }
    this.#alive = false;
    this.#socket.ping();
  }

  goAway(): void {
    this.#socket.close(CLOSE_GOING_AWAY, "the daemon is stopping");
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (isBinary) {
      this.#log("connection-cut", "a binary message");
      this.#socket.close(CLOSE_UNSUPPORTED_DATA, "text messages only");
      return;
    }
    // ws hands text over as one Buffer (binaryType "nodebuffer").
    const text = (data as Buffer).toString("utf8");
    if (this.#inFlight >= MAX_REQUESTS_IN_FLIGHT) {
      this.#refuse(text);
      return;
    }
    this.#inFlight += 1;
    void this.#serve(text);
  }

  /** Never rejects. */
  async #serve(text: string): Promise<void> {
    try {
      this.#send(await this.#dispatcher.answer(text, this.#caller));
    } catch (error) {
      // The dispatcher answers everything; were it to fail, this client can't be served any more.
      this.#logger.log("error", "dispatcher-failed", { error: errorText(error) });
      this.#socket.terminate();
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** Too many at once. The message is small (maxPayload), so reading its id costs little. */
  #refuse(text: string): void {
    const parsed = parseRequest(text);
    const error = errorObjectOf({
      code: "LIMIT",
      operation: "queue",
      object: "the request",
      reason: `${MAX_REQUESTS_IN_FLIGHT} requests of this connection wait for their answers already`,
    });
    this.#send(encodeFailure(parsed.ok ? parsed.value.id : parsed.id, error));
  }

  #send(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#log("connection-cut", "the client does not read");
      this.#socket.terminate();
      return;
    }
    this.#socket.send(text);
  }

  #log(event: string, reason: string): void {
    const { connection, principal } = this.#caller;
    this.#logger.log("warn", event, { connection, uid: principal.uid, reason });
  }
}
