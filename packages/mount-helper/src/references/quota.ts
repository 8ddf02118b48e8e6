/** How much one user may hold. What is on its way counts too, so that a burst can't pass the limit. */
import { RequestError } from "../errors.ts";

export const MAX_DEVICES_PER_UID = 1024;
export const MAX_REFERENCES_PER_UID = 1024;

/** What a user has of something, wants more of, and may have. */
export interface Claim {
  readonly uid: number;
  readonly held: bigint;
  readonly more: bigint;
  /** Undefined: no limit. */
  readonly limit: bigint | undefined;
}

export class Quota {
  readonly #pending = new Map<number, bigint>();
  readonly #what: string;

  constructor(what: string) {
    this.#what = what;
  }

  /** Runs `task` if the user may have that much more. Root has no limit. */
  async reserve<T>({ uid, held, more, limit }: Claim, task: () => Promise<T>): Promise<T> {
    if (uid === 0) return task();
    const pending = this.#pending.get(uid) ?? 0n;
    if (limit !== undefined && held + pending + more > limit) {
      throw new RequestError({
        code: "LIMIT",
        operation: "check of a user's limits",
        object: `uid ${uid}`,
        reason: `it has ${held + pending} ${this.#what} and wants ${more} more, the limit is ${limit}`,
      });
    }
    this.#pending.set(uid, pending + more);
    try {
      return await task();
    } finally {
      const left = (this.#pending.get(uid) ?? more) - more;
      if (left === 0n) this.#pending.delete(uid);
      else this.#pending.set(uid, left);
    }
  }
}
