/** Lines in the log that who has no rights can cause as often as he likes: so many a second, the rest is counted. */
import { RequestMeter } from "./server/request-meter.ts";

export class BoundedLines {
  readonly #perSecond: number;
  readonly #meter = new RequestMeter();
  #unlogged = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Undefined: this one is not to be logged. Else with it how many were not before it, if any. */
  take(nowMs: number): { readonly unlogged?: number } | undefined {
    if (!this.#meter.take(this.#perSecond, nowMs)) {
      this.#unlogged += 1;
      return undefined;
    }
    const unlogged = this.#unlogged;
    this.#unlogged = 0;
    return unlogged === 0 ? {} : { unlogged };
  }
}
