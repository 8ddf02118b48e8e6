/**
 * A client's stream on its way into a folder. It is taken in its order, each byte once: what a cut
 * connection did not bring, the next one brings. What has come and is not yet unpacked is never more
 * than the window.
 */
import { createHash } from "node:crypto";
import type { StreamFrame } from "@thinpool/protocol";
import { STREAM_WINDOW_BYTES } from "@thinpool/protocol";
import { hostFull } from "../errors.ts";
import { unpackTree } from "../tree/unpack.ts";
import type { TransferWish } from "../server/channel.ts";
import type { Done, FlowTimes } from "./flow.ts";
import { FlowBase, streamError } from "./flow.ts";
import type { Flow, StreamPort } from "./stream-port.ts";

/** The window is told of anew when it has moved so far. */
const TOLD_EVERY_BYTES: number = STREAM_WINDOW_BYTES / 8;

export class Inflow extends FlowBase implements Flow {
  readonly direction = "to-daemon";
  readonly #wish: TransferWish;
  readonly #sha256 = createHash("sha256");
  readonly #queue: Uint8Array[] = [];
  #received = 0;
  #taken = 0;
  #told = 0;
  #ended = false;

  constructor(wish: TransferWish, times: FlowTimes) {
    super(times);
    this.#wish = wish;
  }

  /** Rejects with what went wrong, when no file is open any more. */
  async run(): Promise<Done> {
    try {
      const { entries, withoutSetId } = await unpackTree(this.#wish.path, this.#chunks());
      this.check();
      const sha256 = this.#digest ?? "";
      return { ok: true, entries, streamBytes: this.#taken, sha256, reduced: withoutSetId };
    } finally {
      this.end();
    }
  }

  receive({ kind, offset, payload }: StreamFrame): void {
    const at = Number(offset);
    const { maxBytes = Number.POSITIVE_INFINITY } = this.#wish;
    if (at !== this.#received) {
      this.#refuse(`a part at ${offset}, where ${this.#received} comes next`);
    } else if (kind === "end") {
      // A second one is a client's that does not know whether the first arrived.
      this.#ended = true;
    } else if (this.#ended) {
      this.#refuse(`a part at ${offset}, where the end was`);
    } else if (at + payload.length > this.#window) {
      this.#refuse(`a part up to ${at + payload.length}, where the window ends at ${this.#window}`);
    } else if (at + payload.length > maxBytes) {
      const reason = `it has more than the ${maxBytes} bytes that the host's filesystem under the pool had free`;
      this.fail(hostFull({ operation: "stream", object: "the stream", reason }));
    } else {
      // The socket's buffer is the socket's: what is kept longer is copied.
      this.#queue.push(Uint8Array.from(payload));
      this.#received += payload.length;
    }
    this.stir();
    this.changed();
  }

  windowMoved(): void {
    this.#refuse("a window for a stream that is sent by the client");
  }

  protected greet(port: StreamPort): void {
    this.#told = this.#taken;
    port.opened({ offset: this.#received, window: this.#window });
  }

  protected waitsForClient(): boolean {
    return this.#queue.length === 0 && !this.#ended;
  }

  get #window(): number {
    return this.#taken + STREAM_WINDOW_BYTES;
  }

  #digest: string | undefined;

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      await this.until(() => this.#queue.length > 0 || this.#ended);
      const chunk = this.#queue.shift();
      if (chunk === undefined) break;
      this.#sha256.update(chunk);
      yield chunk;
      this.#taken += chunk.length;
      this.#tell();
    }
    this.#digest = this.#sha256.digest("hex");
    const { streamBytes, sha256 } = this.#wish;
    if (streamBytes !== undefined && streamBytes !== this.#taken) {
      const reason = `it has ${this.#taken} bytes, where the request said ${streamBytes}`;
      throw streamError("CHECKSUM_MISMATCH", reason);
    }
    if (sha256 !== undefined && sha256 !== this.#digest) {
      throw streamError("CHECKSUM_MISMATCH", `its SHA-256 is ${this.#digest}, not ${sha256}`);
    }
  }

  #tell(): void {
    const idle = this.#queue.length === 0;
    if (this.#taken - this.#told < TOLD_EVERY_BYTES && !idle) return;
    this.#told = this.#taken;
    this.port?.window({ taken: this.#taken, window: this.#window });
  }

  #refuse(reason: string): void {
    this.fail(streamError("INVALID_REQUEST", reason));
  }
}
