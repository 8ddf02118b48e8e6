/** How many requests a user has had lately: a bucket that fills by the second, and holds one second's. */

export class RequestMeter {
  #level = 0;
  #at = 0;

  /** Counts one more; false where that is over `perSecond`. `nowMs` never goes back. */
  take(perSecond: number, nowMs: number): boolean {
    const drained = this.#level - ((nowMs - this.#at) * perSecond) / 1000;
    this.#at = nowMs;
    const level = Math.max(0, drained) + 1;
    // A refused request does not count: who goes on asking is served again as soon as who waits.
    this.#level = level > perSecond ? level - 1 : level;
    return level <= perSecond;
  }
}
