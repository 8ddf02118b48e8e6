/** At most so many of one kind of work at a time; the others wait in the order in which they came. */
export class Limiter {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** How many may wait is bounded by who calls: every operation of a pool has a place in its queue. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Rejects with the signal's reason where it is aborted while waiting. */
  async run<T>(body: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#running < this.#limit) this.#running += 1;
    // The place is handed over by the one that ends, so that nobody takes it in between.
    else await this.#wait(signal);
    try {
      return await body();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => {
      const place = this.#waiting.indexOf(resolve);
      // Else it has been handed the place already, and uses it.
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      reject(signal?.reason as Error);
    };
    this.#waiting.push(resolve);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }
}
