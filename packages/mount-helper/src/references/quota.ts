/** How much one user may hold. What is on its way counts too, so that a burst can't pass the limit. */
import { RequestError } from "../errors.ts";

export const MAX_DEVICES_PER_UID = 1024;
export const MAX_REFERENCES_PER_UID = 1024;

export class Quota {
  readonly #pending = new Map<number, number>();
  readonly #what: string;
  readonly #limit: number;

  constructor(what: string, limit: number) {
    this.#what = what;
    this.#limit = limit;
  }

  /** Runs `task` if the user, who has `held` now, may have one more. Root has no limit. */
  async reserve<T>(uid: number, held: number, task: () => Promise<T>): Promise<T> {
    if (uid === 0) return task();
    const pending = this.#pending.get(uid) ?? 0;
    if (held + pending >= this.#limit) {
      throw new RequestError({
        code: "LIMIT",
        operation: "check of a user's limits",
        object: `uid ${uid}`,
        reason: `it has ${held + pending} ${this.#what}, the limit is ${this.#limit}`,
      });
    }
    this.#pending.set(uid, pending + 1);
    try {
      return await task();
    } finally {
      const left = (this.#pending.get(uid) ?? 1) - 1;
      if (left === 0) this.#pending.delete(uid);
      else this.#pending.set(uid, left);
    }
  }
}
