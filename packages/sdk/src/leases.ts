/** Renews this client's leases while it lives. */
import { hasCode } from "./errors.ts";
import { NO_TIMEOUT_MS, letGo } from "./wait.ts";

/** Renewed after this share of its time: two attempts may fail before it ends. */
const RENEW_SHARE = 1 / 3;

interface Kept {
  readonly ttlMs: number;
  timer: ReturnType<typeof setTimeout>;
}

export class Leases {
  readonly #renew: (reference: string) => Promise<unknown>;
  readonly #kept = new Map<string, Kept>();

  constructor(renew: (reference: string) => Promise<unknown>) {
    this.#renew = renew;
  }

  keep(reference: string, ttlMs: number): void {
    this.drop(reference);
    this.#kept.set(reference, { ttlMs, timer: this.#arm(reference, ttlMs) });
  }

  drop(reference: string): void {
    clearTimeout(this.#kept.get(reference)?.timer);
    this.#kept.delete(reference);
  }

  dropAll(): void {
    for (const reference of this.#kept.keys()) this.drop(reference);
  }

  #arm(reference: string, ttlMs: number): ReturnType<typeof setTimeout> {
    const waitMs = Math.min(ttlMs * RENEW_SHARE, NO_TIMEOUT_MS);
    const timer = setTimeout(() => void this.#turn(reference), waitMs);
    letGo(timer);
    return timer;
  }

  /** Never rejects. */
  async #turn(reference: string): Promise<void> {
    const before = this.#kept.get(reference);
    try {
      await this.#renew(reference);
    } catch (error) {
      // It has ended, or this client has: nothing is left to be renewed. Else the next turn tries again.
      const over = ["NOT_MOUNTED", "CLIENT_CLOSED", "SESSION_GONE", "CONNECTION_LOST"] as const;
      if (over.some((code) => hasCode(error, code))) this.drop(reference);
    }
    const kept = this.#kept.get(reference);
    // One that is kept anew meanwhile has a timer of its own.
    if (kept !== undefined && kept === before) kept.timer = this.#arm(reference, kept.ttlMs);
  }
}
