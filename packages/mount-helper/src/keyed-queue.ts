/** Operations on the same key run one after another; those on different keys do not wait for each other. */
import { RequestError } from "./errors.ts";

/** Operations that may wait for one key; the next one is told at once. */
export const MAX_WAITING_PER_KEY = 128;

export class KeyedQueue {
  readonly #tails = new Map<string, { tail: Promise<unknown>; length: number }>();

  async run<T>(key: string, operation: string, task: () => Promise<T>): Promise<T> {
    const entry = this.#tails.get(key) ?? { tail: Promise.resolve(), length: 0 };
    if (entry.length >= MAX_WAITING_PER_KEY) {
      throw new RequestError({
        code: "LIMIT",
        operation,
        object: key,
        reason: `${MAX_WAITING_PER_KEY} operations on it wait already`,
      });
    }
    this.#tails.set(key, entry);
    entry.length += 1;
    const result = entry.tail.then(task);
    // The outcome goes to the caller by `result`; the next in line only needs to know that it is over.
    entry.tail = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      entry.length -= 1;
      if (entry.length === 0) this.#tails.delete(key);
    }
  }
}
