/** One client's connection in the front: its messages in, its answers out, within the protocol's limits. */
import type { DaemonNotification, KnownRequest, RequestId } from "@thinpool/protocol";
import {
  MAX_BUFFERED_BYTES,
  MAX_REQUESTS_IN_FLIGHT,
  MAX_STREAMS_PER_CONNECTION,
  encodeFailure,
  encodeNotification,
  encodeStreamFrame,
  errorObjectOf,
  isStreamMethod,
  parseClientMessage,
  parseStreamFrame,
} from "@thinpool/protocol";
import type { RawData } from "ws";
import { WebSocket } from "ws";
import type { NoteEvent, ToBack } from "../server/channel.ts";
import { MAX_NOTE_LENGTH } from "../server/channel.ts";

import type { Flow, StreamPort } from "./stream-port.ts";
import type { Transfers } from "./transfers.ts";

/** RFC 6455, section 7.4.1. */
const CLOSE_UNSUPPORTED_DATA = 1003;

export interface SessionParts {
  readonly socket: WebSocket;
  readonly connection: number;
  readonly send: (message: ToBack) => void;
  readonly transfers: Transfers;
}

export class Session {
  readonly #socket: WebSocket;
  readonly #connection: number;
  readonly #toBack: (message: ToBack) => void;
  readonly #waiting = new Set<RequestId>();
  readonly #transfers: Transfers;
  /** Those of the requests that wait which have a stream. */
  readonly #streaming = new Set<RequestId>();
  /** By number. One that is over is not there any more: what still comes for it is passed over. */
  readonly #flows = new Map<number, Flow>();
  #lastStream = 0;
  #alive = true;

  constructor(parts: SessionParts) {
    const { socket } = parts;
    this.#socket = socket;
    this.#connection = parts.connection;
    this.#toBack = parts.send;
    this.#transfers = parts.transfers;
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
    if (this.#streaming.delete(id)) this.#transfers.answered(this.#connection, id);
    this.send(text);
  }

  send(data: string | Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#cut("the client does not read");
      return;
    }
    this.#socket.send(data);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (isBinary) {
      this.#receivePart(data as Buffer);
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
    else if (message.type === "window") {
      const { stream, taken, window } = message.window;
      if (this.#isKnown(stream)) this.#flows.get(stream)?.windowMoved({ taken, window });
      else this.#unknownStream(`a window of stream ${stream}`);
    }
    // One that is answered by now crossed its answer on the way.
    else if (this.#waiting.has(message.id)) {
      this.#toBack({ ...message, connection: this.#connection });
      this.#transfers.cancelled(this.#connection, message.id);
    }
  }

  #receivePart(data: Buffer): void {
    const frame = parseStreamFrame(data);
    if (!frame.ok) this.#unknownStream(frame.reason);
    else if (this.#isKnown(frame.value.stream)) {
      this.#flows.get(frame.value.stream)?.receive(frame.value);
    } else this.#unknownStream(`a part of stream ${frame.value.stream}`);
  }

  /** It is there, or was: then this crossed its end on the way. */
  #isKnown(stream: number): boolean {
    return stream >= 1 && stream <= this.#lastStream;
  }

  #unknownStream(reason: string): void {
    this.#note("connection-cut", reason);
    this.#socket.close(CLOSE_UNSUPPORTED_DATA, "no such stream");
  }

  /** The end of a request's stream that lies at this connection. */
  #openPort(id: RequestId, flow: Flow): StreamPort {
    this.#lastStream += 1;
    const stream = this.#lastStream;
    this.#flows.set(stream, flow);
    const say = (notification: DaemonNotification): void => {
      if (this.#flows.get(stream) === flow) this.send(encodeNotification(notification));
    };
    return {
      opened: ({ offset, window }) => {
        const at = { offset: String(offset), window: String(window) };
        const { direction } = flow;
        say({ method: "stream.opened", params: { id, stream, direction, ...at } });
      },
      window: ({ taken, window }) => {
        const at = { taken: String(taken), window: String(window) };
        say({ method: "stream.window", params: { stream, ...at } });
      },
      send: (frame) => {
        if (this.#flows.get(stream) === flow) this.send(encodeStreamFrame({ ...frame, stream }));
      },
      close: () => void this.#flows.delete(stream),
    };
  }

  #forward(request: KnownRequest): void {
    const { id, method, params, key } = request;
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
    if (isStreamMethod(method) && this.#streaming.size >= MAX_STREAMS_PER_CONNECTION) {
      const reason = `${MAX_STREAMS_PER_CONNECTION} streams of this connection are on their way already`;
      this.send(encodeFailure(id, errorObjectOf({ ...context, code: "LIMIT", reason })));
      return;
    }
    this.#waiting.add(id);
    // The back reads the whole of it once more, so it gets it as it came.
    const all = key === undefined ? params : { ...params, idempotencyKey: key };
    this.#toBack({ type: "request", connection: this.#connection, id, method, params: all });
    // The back may have refused it at once.
    if (!isStreamMethod(method) || !this.#waiting.has(id)) return;
    this.#streaming.add(id);
    this.#transfers.asked(request, this.#connection, (flow) => this.#openPort(id, flow));
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
