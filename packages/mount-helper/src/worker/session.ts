/** One client's connection in the front: its messages in, its answers out, within the protocol's limits. */
import type { KnownRequest, RequestId } from "@thinpool/protocol";
import {
  MAX_BUFFERED_BYTES,
  MAX_REQUESTS_IN_FLIGHT,
  encodeFailure,
  errorObjectOf,
  parseClientMessage,
} from "@thinpool/protocol";
import type { RawData } from "ws";
import { WebSocket } from "ws";
import type { NoteEvent, ToBack } from "../server/channel.ts";
import { MAX_NOTE_LENGTH } from "../server/channel.ts";

/** RFC 6455, section 7.4.1. */
const CLOSE_UNSUPPORTED_DATA = 1003;

export interface SessionParts {
  readonly socket: WebSocket;
  readonly connection: number;
  readonly send: (message: ToBack) => void;
}

export class Session {
  readonly #socket: WebSocket;
  readonly #connection: number;
  readonly #toBack: (message: ToBack) => void;
  readonly #waiting = new Set<RequestId>();
  #alive = true;

  constructor(parts: SessionParts) {
    const { socket } = parts;
    this.#socket = socket;
    this.#connection = parts.connection;
    this.#toBack = parts.send;
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("pong", () => {
      this.#alive = true;
    });
    // A frame that breaks the rules (too large, no UTF-8): ws closes by itself.
    socket.on("error", (error) => this.#note("connection-error", error.message));
  }

  /** Cuts whoever has not answered the last ping, and pings the others. */
  beat(): void {
    if (!this.#alive) {
      this.#cut("no answer to a ping");
      return;
    }
    this.#alive = false;
    this.#socket.ping();
  }

  answer(id: RequestId, text: string): void {
    this.#waiting.delete(id);
    this.send(text);
  }

  send(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#cut("the client does not read");
      return;
    }
    this.#socket.send(text);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (isBinary) {
      this.#note("connection-cut", "a binary message");
      this.#socket.close(CLOSE_UNSUPPORTED_DATA, "text messages only");
      return;
    }
    // ws hands text over as one Buffer (binaryType "nodebuffer").
    const parsed = parseClientMessage((data as Buffer).toString("utf8"));
    if (!parsed.ok) {
      const { code, reason, id } = parsed;
      this.#note("request-refused", `${code}: ${reason}`);
      const context = { operation: "parse", object: "the request" };
      this.send(encodeFailure(id, errorObjectOf({ ...context, code, reason })));
      return;
    }
    const message = parsed.value;
    if (message.type === "request") this.#forward(message.request);
    // One that is answered by now crossed its answer on the way.
    else if (this.#waiting.has(message.id))
      this.#toBack({ ...message, connection: this.#connection });
  }

  #forward({ id, method, params, key }: KnownRequest): void {
    const context = { operation: "queue", object: "the request" };
    if (this.#waiting.has(id)) {
      const reason = "an earlier request of this id waits for its answer";
      const error = errorObjectOf({ ...context, code: "INVALID_REQUEST", reason });
      this.send(encodeFailure(id, error));
      return;
    }
    if (this.#waiting.size >= MAX_REQUESTS_IN_FLIGHT) {
      const reason = `${MAX_REQUESTS_IN_FLIGHT} requests of this connection wait for their answers already`;
      this.send(encodeFailure(id, errorObjectOf({ ...context, code: "LIMIT", reason })));
      return;
    }
    this.#waiting.add(id);
    // The back reads the whole of it once more, so it gets it as it came.
    const all = key === undefined ? params : { ...params, idempotencyKey: key };
    this.#toBack({ type: "request", connection: this.#connection, id, method, params: all });
  }

  #cut(reason: string): void {
    this.#note("connection-cut", reason);
    this.#socket.terminate();
  }

  #note(event: NoteEvent, reason: string): void {
    const connection = this.#connection;
    this.#toBack({ type: "note", connection, event, reason: reason.slice(0, MAX_NOTE_LENGTH) });
  }
}
