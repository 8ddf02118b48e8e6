/**
 * The files of a folder on their way to a client. What was sent is kept until the client has taken it, so
 * that it can be sent again by another connection; that, and so what is read ahead, is never more than
 * the window.
 */
import { createHash } from "node:crypto";
import type { StreamWindow } from "@thinpool/protocol";
import { MAX_STREAM_PAYLOAD_BYTES, STREAM_WINDOW_BYTES } from "@thinpool/protocol";
import { packTree } from "../tree/pack.ts";
import type { Packed } from "../tree/pack.ts";
import type { TransferWish } from "../server/channel.ts";
import type { Done, FlowTimes } from "./flow.ts";
import { FlowBase, streamError } from "./flow.ts";
import type { Flow, StreamPort } from "./stream-port.ts";

interface Part {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class Outflow extends FlowBase implements Flow {
  readonly direction = "to-client";
  readonly #path: string;
  readonly #sha256 = createHash("sha256");
  /** From `#taken` to `#made`. */
  #parts: Part[] = [];
  #made = 0;
  #taken = 0;
  /** By the connection of now; undefined until it has said where it is. */
  #sent: number | undefined;
  #window = 0;
  #ended = false;
  #endSent = false;

  constructor({ path }: TransferWish, times: FlowTimes) {
    super(times);
    this.#path = path;
  }

  /** Resolves when the client has taken all. Rejects with what went wrong, when no file is open any more. */
  async run(): Promise<Done> {
    try {
      const { entries, left } = await this.#pack();
      this.#ended = true;
      this.#pump();
      await this.until(() => this.#taken === this.#made);
      const sha256 = this.#sha256.digest("hex");
      return { ok: true, entries, streamBytes: this.#made, sha256, reduced: left };
    } finally {
      this.end();
    }
  }

  receive(): void {
    this.fail(streamError("INVALID_REQUEST", "a part of a stream that is sent by the daemon"));
  }

  windowMoved(moved: Pick<StreamWindow, "taken" | "window">): void {
    const taken = Number(moved.taken);
    const most = this.#sent ?? this.#made;
    if (taken < this.#taken || taken > most) {
      const reason = `${taken} bytes can't be taken: from ${this.#taken} to ${most} were sent`;
      this.fail(streamError(taken < this.#taken ? "STREAM_LOST" : "INVALID_REQUEST", reason));
      return;
    }
    this.#taken = taken;
    this.#parts = this.#parts.filter(({ offset, bytes }) => offset + bytes.length > taken);
    this.#sent ??= taken;
    this.#window = Number(moved.window);
    this.#pump();
    this.stir();
    this.changed();
  }

  protected greet(port: StreamPort): void {
    this.#sent = undefined;
    this.#endSent = false;
    port.opened({ offset: this.#taken, window: this.#taken });
  }

  protected waitsForClient(): boolean {
    return this.#made > this.#taken || this.#ended;
  }

  async #pack(): Promise<Packed> {
    const archive = packTree(this.#path);
    try {
      const pending: Uint8Array[] = [];
      let length = 0;
      for (;;) {
        const next = await archive.next();
        if (next.done === true) {
          await this.#add(pending);
          return next.value;
        }
        pending.push(next.value);
        length += next.value.length;
        if (length < MAX_STREAM_PAYLOAD_BYTES) continue;
        await this.#add(pending.splice(0));
        length = 0;
      }
    } finally {
      // Closes what it has open, wherever it stands.
      await archive.return({ entries: 0, left: 0 });
    }
  }

  async #add(pending: readonly Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(pending);
    this.#sha256.update(bytes);
    for (let at = 0; at < bytes.length; at += MAX_STREAM_PAYLOAD_BYTES) {
      await this.until(() => this.#made - this.#taken < STREAM_WINDOW_BYTES);
      const part = bytes.subarray(at, at + MAX_STREAM_PAYLOAD_BYTES);
      this.#parts.push({ offset: this.#made, bytes: part });
      this.#made += part.length;
      this.#pump();
    }
  }

  /** Sends what may be sent. */
  #pump(): void {
    const { port } = this;
    if (port === undefined || this.#sent === undefined) return;
    for (const { offset, bytes } of this.#parts) {
      const from = Math.max(this.#sent, offset);
      const to = Math.min(this.#window, offset + bytes.length);
      if (to <= from) continue;
      const payload = bytes.subarray(from - offset, to - offset);
      port.send({ kind: "data", offset: BigInt(from), payload });
      this.#sent = to;
    }
    if (!this.#ended || this.#endSent || this.#sent !== this.#made) return;
    this.#endSent = true;
    port.send({ kind: "end", offset: BigInt(this.#made), payload: new Uint8Array() });
  }
}
