/** What was read of the ledger, for as long as nothing of it can have changed. */
import type { TransactionId } from "@thinpool/dm-native";
import type { LedgerDatabase } from "./database.ts";

/** Of one kind; then all are read anew. */
export const MAX_REMEMBERED = 256;

export class Remembered<Value> {
  readonly #db: Pick<LedgerDatabase, "version">;
  readonly #read: (key: string, current: TransactionId) => Value;
  readonly #values = new Map<string, Value>();
  #version: number | undefined;
  #current: TransactionId | undefined;

  /** `read`: what the ledger says of a key when the pool is at `current`. */
  constructor(
    db: Pick<LedgerDatabase, "version">,
    read: (key: string, current: TransactionId) => Value,
  ) {
    this.#db = db;
    this.#read = read;
  }

  get(key: string, current: TransactionId): Value {
    const { version } = this.#db;
    // In the middle of a write: what is read now may be taken back.
    if (version === undefined) return this.#read(key, current);
    const isStale = version !== this.#version || current !== this.#current;
    if (isStale || this.#values.size >= MAX_REMEMBERED) this.#values.clear();
    this.#version = version;
    this.#current = current;
    const known = this.#values.get(key);
    if (known !== undefined || this.#values.has(key)) return known as Value;
    const value = this.#read(key, current);
    this.#values.set(key, value);
    return value;
  }
}
