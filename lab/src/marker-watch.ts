/** Looks for a text in a stream of bytes, also where it lies across two chunks. */
export class MarkerWatch {
  readonly #marker: Buffer;
  #tail: Buffer = Buffer.alloc(0);

  constructor(marker: string) {
    this.#marker = Buffer.from(marker, "utf8");
  }

  /** True once the marker has come, in this chunk or with its beginning in earlier ones. */
  seen(chunk: Buffer): boolean {
    const bytes = Buffer.concat([this.#tail, chunk]);
    const keep = this.#marker.length - 1;
    this.#tail = keep === 0 ? Buffer.alloc(0) : bytes.subarray(-keep);
    return bytes.includes(this.#marker);
  }
}
