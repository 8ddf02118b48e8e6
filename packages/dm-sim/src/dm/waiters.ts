/** Who waits for an event of what. */
export class Waiters<Key> {
  readonly #waiting = new Map<Key, Set<() => void>>();

  wake(key: Key): void {
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    for (const resolve of waiting ?? []) resolve();
  }

  /** Resolves at the next `wake`; rejects with the signal's reason when aborted. */
  async wait(key: Key, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const waiting = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, waiting);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // The reason is the caller's own value, handed back as the interface promises.
    const abort = (): void => reject(signal?.reason as Error);
    waiting.add(resolve);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await promise;
    } finally {
      waiting.delete(resolve);
      signal?.removeEventListener("abort", abort);
    }
  }
}
