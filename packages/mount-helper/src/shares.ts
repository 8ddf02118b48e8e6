/** So many of each user's tasks at once; his others wait, first come first served, and nobody else's do. */

interface Own {
  running: number;
  readonly waiting: (() => void)[];
}

export class Shares {
  readonly #most: number;
  /** Of those that have some. */
  readonly #byUid = new Map<number, Own>();

  constructor(most: number) {
    this.#most = most;
  }

  async run<T>(uid: number, task: () => Promise<T>): Promise<T> {
    const own = this.#byUid.get(uid) ?? { running: 0, waiting: [] };
    this.#byUid.set(uid, own);
    if (own.running < this.#most) own.running += 1;
    // Whose place it gets leaves it counted.
    else await new Promise<void>((resolve) => void own.waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = own.waiting.shift();
      if (next === undefined) own.running -= 1;
      else next();
      if (own.running === 0) this.#byUid.delete(uid);
    }
  }
}
