import type { SimCall } from "./faults.ts";

/** Calls that only ask. A status of a thin pool is none: it commits the pool's metadata. */
const QUERIES: ReadonlySet<string> = new Set([
  "BLKGETSIZE64",
  "BLKSSZGET",
  "DM_DEV_STATUS",
  "DM_GET_TARGET_VERSION",
  "DM_LIST_DEVICES",
  "DM_LIST_VERSIONS",
  "DM_TABLE_DEPS",
  "DM_VERSION",
  "LOOP_GET_STATUS64",
  "LOOP_LIST",
  "O_EXCL",
  "fstat",
  "mountinfo",
  "read",
  "signature",
  "thin_check",
  "thin_delta",
  "thin_dump",
  "thin_ls",
]);

/**
 * Tells, of the boundaries that an `onCall` listener is told of one after the other, at which the machine
 * may differ from what it was at the one before. At the others a death leaves the same machine: who tries
 * one at every boundary need not try it twice.
 */
export class ChangeWatch {
  /** Begun, not ended: each may have had its effect. One that the kernel refused stays here. */
  #inFlight = 0;
  #seen = false;

  /** `operation` may be the caller's own, such as a file call: what is no query of the kernel's may change. */
  mayDiffer({ operation, phase }: Pick<SimCall, "operation" | "phase">): boolean {
    const changes = !QUERIES.has(operation);
    const differs = !this.#seen || this.#inFlight > 0 || (changes && phase === "after");
    this.#seen = true;
    if (changes) this.#inFlight = Math.max(0, this.#inFlight + (phase === "before" ? 1 : -1));
    return differs;
  }
}
