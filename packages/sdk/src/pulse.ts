/** Tells when the daemon has fallen silent: it pings, or answers, at least once in each interval. */

import { letGo } from "./wait.ts";

/** Two pings may be missed; the third interval is for a machine under load. */
const MISSED_INTERVALS = 3;
/** This side may have been the one that was held up: what came meanwhile is read first. */
const LAST_CHANCE_MS = 1_000;

export class Pulse {
  readonly #timeoutMs: number;
  readonly #onSilence: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heardAt = performance.now();
  #stopped = false;

  constructor(intervalMs: number, onSilence: () => void) {
    this.#timeoutMs = intervalMs * MISSED_INTERVALS;
    this.#onSilence = onSilence;
    this.#arm(this.#timeoutMs, false);
  }

  beat(): void {
    this.#heardAt = performance.now();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #arm(ms: number, last: boolean): void {
    this.#timer = setTimeout(() => this.#check(last), ms);
    letGo(this.#timer);
  }

  #check(last: boolean): void {
    if (this.#stopped) return;
    const silentMs = performance.now() - this.#heardAt;
    if (silentMs < this.#timeoutMs) this.#arm(this.#timeoutMs - silentMs, false);
    else if (last) this.#onSilence();
    else this.#arm(LAST_CHANCE_MS, true);
  }
}
