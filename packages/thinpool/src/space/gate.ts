/**
 * Many may pass together, or one alone. The kernel refuses to make a thin device live while its pool
 * is suspended (dm-thin.c, thin_ctr: EINVAL), so activations pass together and a swap of the pool's
 * table passes alone. Who waits to be alone lets no newcomers pass before it.
 */
export class Gate {
  #inside = 0;
  #alone = false;
  readonly #waiting: { readonly alone: boolean; readonly enter: () => void }[] = [];

  async together<T>(body: () => Promise<T>): Promise<T> {
    if (this.#alone || this.#waiting.length > 0) await this.#wait(false);
    else this.#inside += 1;
    try {
      return await body();
    } finally {
      this.#inside -= 1;
      this.#next();
    }
  }

  async alone<T>(body: () => Promise<T>): Promise<T> {
    if (this.#alone || this.#inside > 0 || this.#waiting.length > 0) await this.#wait(true);
    else this.#alone = true;
    try {
      return await body();
    } finally {
      this.#alone = false;
      this.#next();
    }
  }

  #wait(alone: boolean): Promise<void> {
    return new Promise((enter) => this.#waiting.push({ alone, enter }));
  }

  #next(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#alone || (first.alone && this.#inside > 0)) return;
      this.#waiting.shift();
      if (first.alone) this.#alone = true;
      else this.#inside += 1;
      first.enter();
    }
  }
}
