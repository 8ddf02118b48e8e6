/**
 * Requests that come, or are answered, at one moment, in slices: a turn of the event loop has so many of
 * them, and the others wait for theirs in the order in which they came.
 */

/** Each costs some tenths of a millisecond. */
export const REQUESTS_PER_TURN = 8;

export class Pace {
  readonly #waiting: (() => void)[] = [];
  /** Of this turn. */
  #taken = 0;
  #inNextTurn = false;

  /** Undefined: now. */
  enter(): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#taken < REQUESTS_PER_TURN) {
      this.#take();
      return undefined;
    }
    return this.later();
  }

  /** In a turn to come, whatever this one has done. */
  later(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#waiting.push(() => resolve(undefined));
    if (this.#taken === 0) this.#take();
    return promise;
  }

  #take(): void {
    this.#taken += 1;
    if (this.#taken > 1) return;
    // What is read from a socket, and an immediate that is set by it, are of the same turn.
    if (this.#inNextTurn) setImmediate(() => this.#nextTurn());
    else setImmediate(() => setImmediate(() => this.#nextTurn()));
  }

  #nextTurn(): void {
    this.#taken = 0;
    this.#inNextTurn = true;
    for (const resolve of this.#waiting.splice(0, REQUESTS_PER_TURN)) {
      this.#take();
      resolve();
    }
    this.#inNextTurn = false;
  }
}
