/** Chunks of whatever sizes, read in the sizes that are wanted. Holds no more than what is asked for, and one chunk. */

export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next bytes, at least one and at most `most`; undefined at the end. */
  async some(most: number): Promise<Uint8Array | undefined> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      this.#rest = next.value;
    }
    const taken = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(taken.length);
    return taken;
  }

  /** Exactly so many; undefined where the end comes first. */
  async exactly(length: number): Promise<Uint8Array | undefined> {
    const first = await this.some(length);
    if (first === undefined || first.length === length) return first;
    const whole = new Uint8Array(length);
    whole.set(first);
    for (let filled = first.length; filled < length;) {
      const more = await this.some(length - filled);
      if (more === undefined) return undefined;
      whole.set(more, filled);
      filled += more.length;
    }
    return whole;
  }
}
