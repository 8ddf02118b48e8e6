/** When what failed is tried again: soon at first, then ever later, without end. */
import type { Clock } from "./deadline.ts";

export const FIRST_RETRY_MS = 100;
export const MAX_RETRY_MS = 15_000;

interface Entry {
  readonly firstAtMs: number;
  readonly attempts: number;
  readonly nextAtMs: number;
}

export class Retries {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** It failed once more; in so many milliseconds it is tried again. */
  failed(id: string): number {
    const now = this.#clock.read().bootMs;
    const before = this.#entries.get(id);
    const attempts = (before?.attempts ?? 0) + 1;
    const waitMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 20));
    const firstAtMs = before?.firstAtMs ?? now;
    this.#entries.set(id, { firstAtMs, attempts, nextAtMs: now + waitMs });
    return waitMs;
  }

  done(id: string): void {
    this.#entries.delete(id);
  }

  /** 0 or less: now. */
  waitMs(id: string): number {
    const entry = this.#entries.get(id);
    return entry === undefined ? 0 : entry.nextAtMs - this.#clock.read().bootMs;
  }

  /** How long it has been tried in vain. */
  triedForMs(id: string): number {
    const entry = this.#entries.get(id);
    return entry === undefined ? 0 : this.#clock.read().bootMs - entry.firstAtMs;
  }
}
