/** What is asked for at the same moment, done by one commit. */
import { gather } from "./gather.ts";

/** Of one commit: what it writes, and whom it wakes, takes one turn of the event loop. */
export const MAX_BATCH = 16;

interface Waiting<Item> {
  readonly item: Item;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class TurnBatch<Item> {
  readonly #commit: (items: readonly Item[]) => Promise<void> | void;
  readonly #coming: () => number;
  readonly #waiting: Waiting<Item>[] = [];
  #running = false;

  /**
   * `commit` does all of them, or fails for all of them. `coming`: how many there may be at this moment,
   * those that wait here among them; a lone one then waits for nobody.
   */
  constructor(
    commit: (items: readonly Item[]) => Promise<void> | void,
    coming: () => number = () => Number.POSITIVE_INFINITY,
  ) {
    this.#commit = commit;
    this.#coming = coming;
  }

  /** Resolves once it is committed. Rejects with what the commit threw, all of its batch together. */
  add(item: Item): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      await gather({
        count: () => this.#waiting.length,
        coming: this.#coming,
        most: MAX_BATCH,
      });
      await this.#flush(this.#waiting.splice(0, MAX_BATCH));
    }
    this.#running = false;
  }

  async #flush(batch: readonly Waiting<Item>[]): Promise<void> {
    try {
      await this.#commit(batch.map(({ item }) => item));
    } catch (error) {
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const { resolve } of batch) resolve();
  }
}
