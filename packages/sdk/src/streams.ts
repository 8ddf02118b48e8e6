/**
 * The client's ends of byte streams. Each lives as long as its request, over all the connections that
 * this one has: what a cut took with it is sent again, each byte once.
 */
import type { StreamFrame, StreamOpened } from "@thinpool/protocol";
import {
  MAX_STREAM_PAYLOAD_BYTES,
  STREAM_WINDOW_BYTES,
  encodeStreamFrame,
  encodeStreamWindow,
} from "@thinpool/protocol";
import { clientError } from "./errors.ts";
import type { ThinpoolError } from "./errors.ts";

/** The window is told of anew when it has moved so far. */
const TOLD_EVERY_BYTES: number = STREAM_WINDOW_BYTES / 8;

export type Send = (data: string | Uint8Array<ArrayBuffer>) => void;

/** What a request that has a stream hears of it. */
export interface StreamEnd {
  /** It can begin, or go on after a cut. */
  opened(at: StreamOpened, send: Send): void;
  /** How far the daemon has taken it, and how far it may be sent. */
  windowMoved(at: { readonly taken: number; readonly window: number }): void;
  part(frame: StreamFrame): void;
  /** The connection is gone. */
  cut(): void;
}

interface Opened {
  readonly stream: number;
  readonly send: Send;
}

function lost(operation: string, reason: string): ThinpoolError {
  return clientError("STREAM_LOST", { operation, object: "the stream", reason });
}

/** From a source to the daemon. */
export class Upload implements StreamEnd {
  readonly #source: AsyncIterable<Uint8Array> & { readonly destroy?: unknown };
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #onTaken: (bytes: number) => void;
  readonly #failed = new AbortController();
  /** What was read of the source and is not known to be taken: it may have to be sent again. */
  #parts: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  #read = 0;
  #taken = 0;
  #sent = 0;
  #window = 0;
  #ended = false;
  /** By the connection of now. */
  #endSent = false;
  #opened: Opened | undefined;
  #pumping = false;

  constructor(source: AsyncIterable<Uint8Array>, onTaken: (bytes: number) => void) {
    // Whoever is without types has an array here, or nothing.
    if (
      typeof (source as Partial<typeof source> | undefined)?.[Symbol.asyncIterator] !== "function"
    ) {
      const context = { operation: "device.import", object: "the source" };
      const reason = "it can't be iterated asynchronously, as a stream or a generator can";
      throw clientError("ARGUMENT_INVALID", { ...context, reason });
    }
    this.#source = source;
    this.#chunks = source[Symbol.asyncIterator]();
    this.#onTaken = onTaken;
  }

  /** Set, with the reason, when the source fails or the daemon wants what is no longer there. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Nobody reads the source any more. What it has open is closed. */
  close(): void {
    this.#opened = undefined;
    // A chunk that is waited for just now comes first.
    void this.#chunks.return?.()?.catch(() => undefined);
    // A stream of Node's of which nothing was read, or that stands still, notices nothing by that.
    const { destroy } = this.#source;
    if (!this.#ended && typeof destroy === "function") destroy.call(this.#source);
  }

  opened({ stream, offset, window }: StreamOpened, send: Send): void {
    const at = Number(offset);
    if (at < this.#taken || at > this.#read) {
      const reason = `the daemon asks for byte ${at}, and only ${this.#taken} to ${this.#read} are still here`;
      this.#failed.abort(lost("device.import", reason));
      return;
    }
    this.#opened = { stream, send };
    this.#sent = at;
    this.#endSent = false;
    this.#window = Number(window);
    void this.#pump();
  }

  windowMoved({ taken, window }: { readonly taken: number; readonly window: number }): void {
    if (this.#opened === undefined || taken > this.#sent) return;
    this.#taken = Math.max(this.#taken, taken);
    this.#window = window;
    this.#parts = this.#parts.filter(({ offset, bytes }) => offset + bytes.length > this.#taken);
    try {
      this.#onTaken(this.#taken);
    } catch (error) {
      // It is the caller's own, and whoever called is told of it, not whoever received the message.
      this.#failed.abort(error);
      return;
    }
    void this.#pump();
  }

  part(): void {
    // The daemon sends none here.
  }

  cut(): void {
    this.#opened = undefined;
  }

  /** Sends what may be sent, and reads on where there is room for more. Never rejects. */
  async #pump(): Promise<void> {
    this.#sendRead();
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#opened !== undefined && !this.#ended && this.#read < this.#window) {
        const next = await this.#chunks.next();
        if (next.done === true) this.#ended = true;
        else this.#keep(next.value);
        this.#sendRead();
      }
    } catch (error) {
      this.#failed.abort(error);
    } finally {
      this.#pumping = false;
    }
  }

  /** A copy: the source may use its buffer again. Throws ARGUMENT_INVALID. */
  #keep(given: Uint8Array): void {
    // Whatever its type says, a stream of Node's may have an encoding. Not by its class, of which a test's
    // sandbox has another.
    if (Object.prototype.toString.call(given) !== "[object Uint8Array]") {
      const reason = `a part of the source is no Uint8Array but a ${typeof given}`;
      const context = { operation: "device.import", object: "the source" };
      throw clientError("ARGUMENT_INVALID", { ...context, reason });
    }
    // The `slice` of a Buffer copies nothing.
    const chunk = new Uint8Array(given);
    for (let at = 0; at < chunk.length; at += MAX_STREAM_PAYLOAD_BYTES) {
      const bytes = chunk.subarray(at, at + MAX_STREAM_PAYLOAD_BYTES);
      this.#parts.push({ offset: this.#read, bytes });
      this.#read += bytes.length;
    }
  }

  #sendRead(): void {
    if (this.#opened === undefined) return;
    const { stream, send } = this.#opened;
    for (const { offset, bytes } of this.#parts) {
      const from = Math.max(this.#sent, offset);
      const to = Math.min(this.#window, offset + bytes.length);
      if (to <= from) continue;
      const payload = bytes.subarray(from - offset, to - offset);
      send(encodeStreamFrame({ stream, kind: "data", offset: BigInt(from), payload }));
      this.#sent = to;
    }
    if (!this.#ended || this.#endSent || this.#sent !== this.#read) return;
    this.#endSent = true;
    const payload = new Uint8Array();
    send(encodeStreamFrame({ stream, kind: "end", offset: BigInt(this.#read), payload }));
  }
}

/** From the daemon to whoever reads. */
export class Download implements StreamEnd, AsyncIterable<Uint8Array> {
  #queue: Uint8Array[] = [];
  #received = 0;
  #read = 0;
  #told = 0;
  #ended = false;
  #failure: unknown;
  #opened: Opened | undefined;
  #wake: () => void = () => undefined;

  opened({ stream }: StreamOpened, send: Send): void {
    this.#opened = { stream, send };
    this.#tell();
  }

  windowMoved(): void {
    // It is this side that moves the window.
  }

  part({ kind, offset, payload }: StreamFrame): void {
    if (Number(offset) !== this.#received || this.#ended) {
      const reason = `a part at ${offset}, where ${this.#received} comes next`;
      const context = { operation: "device.export", object: "the stream" };
      this.fail(clientError("PROTOCOL", { ...context, reason }));
      return;
    }
    if (kind === "end") {
      this.#ended = true;
      // All has come; the daemon need not keep it for another connection.
      this.#tell();
    } else {
      this.#queue.push(payload);
      this.#received += payload.length;
    }
    this.#wake();
  }

  cut(): void {
    this.#opened = undefined;
  }

  /** The answer has come: the stream has so many bytes. */
  finish(streamBytes: number): void {
    this.#ended = true;
    if (streamBytes !== this.#received) {
      const reason = `${this.#received} bytes came of ${streamBytes}`;
      this.#failure ??= lost("device.export", reason);
    }
    this.#wake();
  }

  fail(error: unknown): void {
    this.#failure ??= error;
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const chunk = this.#queue.shift();
      if (chunk !== undefined) {
        yield chunk;
        this.#read += chunk.length;
        if (this.#read - this.#told >= TOLD_EVERY_BYTES || this.#queue.length === 0) this.#tell();
      } else if (this.#ended) return;
      else {
        const { promise, resolve } = Promise.withResolvers<undefined>();
        this.#wake = () => resolve(undefined);
        await promise;
      }
    }
  }

  /** What has come need not be sent again; what waits here to be read takes of the window. */
  #tell(): void {
    if (this.#opened === undefined) return;
    const { stream, send } = this.#opened;
    this.#told = this.#read;
    const window = String(this.#read + STREAM_WINDOW_BYTES);
    send(encodeStreamWindow({ stream, taken: String(this.#received), window }));
  }
}
