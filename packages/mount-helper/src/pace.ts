/**
 * Requests that come, or are answered, at one moment, in slices: a turn of the event loop has so many of
 * them, and the others wait for theirs in the order in which they came.
 */
import { performance } from "node:perf_hooks";

/** Each costs some tenths of a millisecond. */
export const REQUESTS_PER_TURN = 8;

/** Asked of libuv: a turn of one's own, set off to see the next one begin, costs what a request does. */
function turnNumber(): number {
  return performance.nodeTiming.uvMetricsInfo.loopCount;
}

export class Pace {
  readonly #waiting: (() => void)[] = [];
  /** Of `#turn`. */
  #taken = 0;
  #turn = -1;
  /** The turn in which the first of those that wait began to. */
  #waitingSince = -1;
  readonly #wake = (): void => {
    // What is read from a socket, and an immediate that is set by it, are of the same turn.
    if (turnNumber() === this.#waitingSince) {
      setImmediate(this.#wake);
      return;
    }
    for (const resolve of this.#waiting.splice(0, REQUESTS_PER_TURN)) {
      this.#take();
      resolve();
    }
    if (this.#waiting.length > 0) this.#wakeLater();
  };

  /** Undefined: now. */
  enter(): Promise<void> | undefined {
    return this.#waiting.length === 0 && this.#take() ? undefined : this.later();
  }

  /** In a turn to come, whatever this one has done. */
  later(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#waiting.push(() => resolve(undefined));
    if (this.#waiting.length === 1) this.#wakeLater();
    return promise;
  }

  #wakeLater(): void {
    this.#waitingSince = turnNumber();
    setImmediate(this.#wake);
  }

  /** False where this turn has had its share. */
  #take(): boolean {
    const turn = turnNumber();
    if (turn !== this.#turn) this.#taken = 0;
    this.#turn = turn;
    if (this.#taken >= REQUESTS_PER_TURN) return false;
    this.#taken += 1;
    return true;
  }
}
