/**
 * Messages over the socket pair between daemon and worker. One frame: u32 length of the rest, u32
 * length of the head, the head (JSON), and what is left, the body: text that is passed on as it is, so
 * that an answer is encoded once. Little-endian.
 */

const PREFIX_BYTES = 4;

export function encodeFrame(head: unknown, body = ""): Buffer {
  const json = JSON.stringify(head);
  const headBytes = Buffer.byteLength(json);
  const bodyBytes = Buffer.byteLength(body);
  const frame = Buffer.allocUnsafe(2 * PREFIX_BYTES + headBytes + bodyBytes);
  frame.writeUInt32LE(PREFIX_BYTES + headBytes + bodyBytes, 0);
  frame.writeUInt32LE(headBytes, PREFIX_BYTES);
  frame.write(json, 2 * PREFIX_BYTES);
  frame.write(body, 2 * PREFIX_BYTES + headBytes);
  return frame;
}

export interface Frame {
  readonly head: unknown;
  readonly body: string;
}

/** Puts frames together from what a socket delivers; holds no more than one. */
export class FrameReader {
  readonly #maxBytes: number;
  readonly #onFrame: (frame: Frame) => void;
  readonly #prefix: Buffer = Buffer.alloc(PREFIX_BYTES);
  #prefixFilled = 0;
  #frame: Buffer | undefined;
  #frameFilled = 0;

  /** `maxBytes` bounds what is behind the first length. */
  constructor(maxBytes: number, onFrame: (frame: Frame) => void) {
    this.#maxBytes = maxBytes;
    this.#onFrame = onFrame;
  }

  /** Throws where the bytes are no frame, or one that is too large; then nothing more can be read. */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      rest =
        this.#frame === undefined ? this.#fillPrefix(rest) : this.#fillFrame(rest, this.#frame);
    }
  }

  #fillPrefix(chunk: Buffer): Buffer {
    const taken = chunk.copy(this.#prefix, this.#prefixFilled);
    this.#prefixFilled += taken;
    if (this.#prefixFilled === PREFIX_BYTES) {
      const length = this.#prefix.readUInt32LE();
      if (length < PREFIX_BYTES || length > this.#maxBytes) {
        throw new Error(`a frame of ${length} bytes; at most ${this.#maxBytes} are allowed`);
      }
      this.#prefixFilled = 0;
      this.#frame = Buffer.allocUnsafe(length);
      this.#frameFilled = 0;
    }
    return chunk.subarray(taken);
  }

  #fillFrame(chunk: Buffer, frame: Buffer): Buffer {
    const taken = chunk.copy(frame, this.#frameFilled);
    this.#frameFilled += taken;
    if (this.#frameFilled === frame.length) {
      this.#frame = undefined;
      this.#onFrame(decode(frame));
    }
    return chunk.subarray(taken);
  }
}

function decode(frame: Buffer): Frame {
  const headEnd = PREFIX_BYTES + frame.readUInt32LE(0);
  if (headEnd > frame.length) throw new Error("a frame whose head is longer than itself");
  const head: unknown = JSON.parse(frame.toString("utf8", PREFIX_BYTES, headEnd));
  return { head, body: frame.toString("utf8", headEnd) };
}
