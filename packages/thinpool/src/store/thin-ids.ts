/** Which thin id the next device gets: the lowest free one above the last one given out. */
import { MAX_THIN_ID, type ThinId, thinId } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import type { LedgerDatabase } from "./database.ts";

export class ThinIds {
  readonly #db: LedgerDatabase;
  /** Where the search for a free id starts: one that counted is not used again before all others were. */
  #next: number;

  constructor(db: LedgerDatabase) {
    this.#db = db;
    const highest = db.get("SELECT max(thin_id) AS id FROM device")?.["id"];
    this.#next = typeof highest === "bigint" ? Number(highest) + 1 : 0;
  }

  /** POOL_NO_SPACE where all 2^24 are in use. The caller records it in the same commit. */
  take(): ThinId {
    const id = this.#freeFrom(this.#next) ?? this.#freeFrom(0);
    if (id === undefined) {
      throw new PoolError({
        code: "POOL_NO_SPACE",
        operation: "creation",
        object: this.#db.path,
        reason: `all ${MAX_THIN_ID + 1} thin ids of the pool are in use`,
        hint: "Remove devices that are not needed.",
      });
    }
    this.#next = id + 1;
    return thinId(id);
  }

  /** It was taken for nothing: it is the next again, unless a lower one is. */
  giveBack(id: number): void {
    this.#next = Math.min(this.#next, id);
  }

  /** The first id from `start` on that no row holds; the indexes make it one step but for full runs. */
  #freeFrom(start: number): number | undefined {
    if (start > MAX_THIN_ID) return undefined;
    const row = this.#db.get(
      `WITH taken (id) AS (SELECT thin_id FROM device UNION ALL SELECT thin_id FROM foreign_thin_id)
       SELECT candidate.id AS id FROM
         (SELECT ? AS id UNION ALL
          SELECT * FROM (SELECT thin_id + 1 FROM device WHERE thin_id >= ? ORDER BY thin_id)
          UNION ALL
          SELECT * FROM (SELECT thin_id + 1 FROM foreign_thin_id WHERE thin_id >= ? ORDER BY thin_id)
         ) AS candidate
       WHERE candidate.id <= ${MAX_THIN_ID}
         AND NOT EXISTS (SELECT 1 FROM taken WHERE taken.id = candidate.id) LIMIT 1`,
      // A number would be bound as REAL, and the id would come back as one.
      BigInt(start),
      BigInt(start),
      BigInt(start),
    );
    const id = row?.["id"];
    return typeof id === "bigint" ? Number(id) : undefined;
  }
}
