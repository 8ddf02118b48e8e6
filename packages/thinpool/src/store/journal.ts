/** The journal of recovery: every decision that opening took, and why. Bounded; the oldest go. */
import type { LedgerDatabase, Row } from "./database.ts";

/** A pool that crashes once a day keeps almost three years. */
export const MAX_JOURNAL_ENTRIES = 1000;

export interface JournalEntry {
  /** Counts up without gaps, also past entries that have gone. */
  readonly number: number;
  readonly atMs: number;
  /** What was decided: "undo-creation", "finish-deletion" … */
  readonly action: string;
  /** The device's name, or what else it was about. */
  readonly object: string;
  readonly reason: string;
}

type NewEntry = Omit<JournalEntry, "number" | "atMs">;

export class Journal {
  readonly #db: LedgerDatabase;

  constructor(db: LedgerDatabase) {
    this.#db = db;
  }

  /** One commit for all of them; done before what was decided is done. */
  append(entries: readonly NewEntry[], atMs: number): void {
    if (entries.length > 0) this.#db.write("journal", () => this.note(entries, atMs));
  }

  /** The same, as a part of a commit under way. */
  note(entries: readonly NewEntry[], atMs: number): void {
    for (const { action, object, reason } of entries) {
      this.#db.run(
        "INSERT INTO journal (at_ms, action, object, reason) VALUES (?, ?, ?, ?)",
        atMs,
        action,
        object,
        reason,
      );
    }
    this.#db.run(
      `DELETE FROM journal WHERE number <= (SELECT max(number) FROM journal) - ${MAX_JOURNAL_ENTRIES}`,
    );
  }

  /** The oldest first. */
  entries(): readonly JournalEntry[] {
    return this.#db.all("SELECT * FROM journal ORDER BY number").map(journalEntry);
  }
}

function journalEntry(row: Row): JournalEntry {
  return {
    number: Number(row["number"]),
    atMs: Number(row["at_ms"]),
    action: row["action"] as string,
    object: row["object"] as string,
    reason: row["reason"] as string,
  };
}
