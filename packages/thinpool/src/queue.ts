/** Operations that change a pool run one after another: a ledger and a pool have one next transaction. */
import { PoolError } from "./errors.ts";

/** How many operations may wait. Beyond it callers are told at once instead of waiting unseen. */
export const MAX_QUEUED_OPERATIONS = 1024;

export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #length = 0;

  /** Running and waiting operations. */
  get length(): number {
    return this.#length;
  }

  /** Runs `task` after all that were given before it, whether those failed or not. */
  run<T>(operation: string, task: () => Promise<T>): Promise<T> {
    if (this.#length >= MAX_QUEUED_OPERATIONS) {
      return Promise.reject(
        new PoolError({
          code: "POOL_OVERLOADED",
          operation,
          object: "the pool's queue",
          reason: `${MAX_QUEUED_OPERATIONS} operations are waiting already`,
          hint: "Wait for some of them to end, then try again.",
        }),
      );
    }
    this.#length += 1;
    const result = this.#tail.then(task);
    const settled = (): void => {
      this.#length -= 1;
    };
    // The outcome goes to the caller by `result`; the chain only needs to know that it is over.
    this.#tail = result.then(settled, settled);
    return result;
  }
}
