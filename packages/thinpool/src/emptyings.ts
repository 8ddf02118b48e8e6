/** Removals that are asked for in one turn of the event loop: one commit records that they have begun. */
import type { DeviceRecord, Ledger } from "./store/ledger.ts";

interface Waiting {
  readonly device: DeviceRecord;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Emptyings {
  readonly #ledger: Ledger;
  #waiting: Waiting[] = [];

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Resolves once the device counts no longer. Rejects with LedgerCommitError, all of them together. */
  begin(device: DeviceRecord): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ device, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => this.#record());
    });
  }

  #record(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      this.#ledger.beginEmptying(waiting.map(({ device }) => device));
      for (const { resolve } of waiting) resolve();
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
  }
}
