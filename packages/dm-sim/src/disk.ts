/**
 * A disk with a volatile write cache, sparse by page: what was written since the last flush is
 * forgotten by a power cut.
 */

/** The cache's grain, and the largest sector that a write changes whole. */
export const PAGE_BYTES = 4096;

const ZEROES: Buffer = Buffer.alloc(PAGE_BYTES);

export class Disk {
  readonly #durable = new Map<number, Buffer>();
  /** Undefined: the page was zeroed or discarded. */
  readonly #volatile = new Map<number, Buffer | undefined>();

  read(offsetBytes: number, lengthBytes: number): Buffer {
    const out = Buffer.alloc(lengthBytes);
    for (const part of pages(offsetBytes, lengthBytes)) {
      this.#page(part.page)?.copy(out, part.at, part.from, part.from + part.length);
    }
    return out;
  }

  write(offsetBytes: number, bytes: Uint8Array): void {
    for (const part of pages(offsetBytes, bytes.length)) {
      const page = Buffer.from(this.#page(part.page) ?? ZEROES);
      page.set(bytes.subarray(part.at, part.at + part.length), part.from);
      this.#volatile.set(part.page, page);
    }
  }

  /** Discarded ranges read as zeroes here, as on a loop device over a sparse file. */
  zero(offsetBytes: number, lengthBytes: number): void {
    for (const part of touched(offsetBytes, lengthBytes, this.#known(offsetBytes, lengthBytes))) {
      if (part.length === PAGE_BYTES) {
        this.#volatile.set(part.page, undefined);
        continue;
      }
      const page = Buffer.from(this.#page(part.page) ?? ZEROES);
      page.fill(0, part.from, part.from + part.length);
      this.#volatile.set(part.page, page);
    }
  }

  /** Copies whole pages; both offsets and the length are multiples of PAGE_BYTES. */
  copy(fromBytes: number, toBytes: number, lengthBytes: number): void {
    for (let done = 0; done < lengthBytes; done += PAGE_BYTES) {
      const source = this.#page((fromBytes + done) / PAGE_BYTES);
      const target = (toBytes + done) / PAGE_BYTES;
      // Pages are never changed in place, so two disks' places may share one.
      if (source !== undefined || this.#page(target) !== undefined) {
        this.#volatile.set(target, source);
      }
    }
  }

  isZero(offsetBytes: number, lengthBytes: number): boolean {
    return this.#known(offsetBytes, lengthBytes).every((page) => {
      const bytes = this.#page(page);
      return bytes === undefined || bytes.equals(ZEROES);
    });
  }

  flush(): void {
    for (const [page, bytes] of this.#volatile) {
      if (bytes === undefined) this.#durable.delete(page);
      else this.#durable.set(page, bytes);
    }
    this.#volatile.clear();
  }

  /** The power is cut: what was not flushed is gone. */
  forget(): void {
    this.#volatile.clear();
  }

  #page(page: number): Buffer | undefined {
    return this.#volatile.has(page) ? this.#volatile.get(page) : this.#durable.get(page);
  }

  /** The pages within a range that hold anything: a range may span terabytes, the maps don't. */
  #known(offsetBytes: number, lengthBytes: number): readonly number[] {
    const first = Math.floor(offsetBytes / PAGE_BYTES);
    const end = Math.ceil((offsetBytes + lengthBytes) / PAGE_BYTES);
    if (end - first <= this.#durable.size + this.#volatile.size) {
      const out: number[] = [];
      for (let page = first; page < end; page += 1) {
        if (this.#page(page) !== undefined) out.push(page);
      }
      return out;
    }
    const all = new Set([...this.#durable.keys(), ...this.#volatile.keys()]);
    return [...all].filter((page) => page >= first && page < end && this.#page(page) !== undefined);
  }
}

interface Part {
  readonly page: number;
  /** Where in the page it begins. */
  readonly from: number;
  readonly length: number;
  /** Where in the range it begins. */
  readonly at: number;
}

function partOf(page: number, offsetBytes: number, lengthBytes: number): Part {
  const start = Math.max(offsetBytes, page * PAGE_BYTES);
  const end = Math.min(offsetBytes + lengthBytes, (page + 1) * PAGE_BYTES);
  return { page, from: start - page * PAGE_BYTES, length: end - start, at: start - offsetBytes };
}

function* pages(offsetBytes: number, lengthBytes: number): Generator<Part> {
  const end = Math.ceil((offsetBytes + lengthBytes) / PAGE_BYTES);
  for (let page = Math.floor(offsetBytes / PAGE_BYTES); page < end; page += 1) {
    yield partOf(page, offsetBytes, lengthBytes);
  }
}

function touched(offsetBytes: number, lengthBytes: number, known: readonly number[]): Part[] {
  return known.map((page) => partOf(page, offsetBytes, lengthBytes));
}
