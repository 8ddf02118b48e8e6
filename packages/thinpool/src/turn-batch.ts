/** What is asked for in one turn of the event loop, done by one commit. */

interface Waiting<Item> {
  readonly item: Item;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class TurnBatch<Item> {
  readonly #commit: (items: readonly Item[]) => void;
  #waiting: Waiting<Item>[] = [];

  /** `commit` does all of them, or throws and has done none. */
  constructor(commit: (items: readonly Item[]) => void) {
    this.#commit = commit;
  }

  /** Resolves once it is committed. Rejects with what the commit threw, all of its turn together. */
  add(item: Item): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      this.#commit(waiting.map(({ item }) => item));
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      return;
    }
    for (const { resolve } of waiting) resolve();
  }
}
