/** At most so many of one kind of work at a time; the others wait in the order in which they came. */
export class Limiter {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** How many may wait is bounded by who calls: every operation of a pool has a place in its queue. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  async run<T>(body: () => Promise<T>): Promise<T> {
    if (this.#running < this.#limit) this.#running += 1;
    // The place is handed over by the one that ends, so that nobody takes it in between.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await body();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
