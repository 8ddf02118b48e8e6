/**
 * The idempotency keys that were used, in a SQLite file of their own beside the pool's ledger. What a
 * call writes is on disk when it resolves, or by when `settled` does.
 */
import type { StatementSync } from "node:sqlite";
import { KEY_LIFETIME_MS, MAX_KEYS_PER_UID } from "@thinpool/protocol";
import { TurnBatch } from "@thinpool/thinpool";
import { inTransaction, StoreFile } from "../store-file.ts";
import type { StoreSchema } from "../store-file.ts";

/** What is `doneSoon` is written after so long, or as soon as there are so many, or somebody waits for it. */
const SOON_MS = 50;
export const MAX_SOON = 16;
/** Old keys go after so many writes: looking for them costs more than a write does. */
export const PRUNE_STEP = 64;
const CREATE = `
CREATE TABLE keys (
  uid INTEGER NOT NULL,
  key TEXT NOT NULL,
  -- SHA-256 of method and parameters: the key stands for this call and no other.
  call_sha256 TEXT NOT NULL,
  -- What to look for after a crash, as JSON; NULL once the outcome is known.
  evidence TEXT,
  -- The result, as JSON; NULL while it is being done.
  outcome TEXT,
  used_at_ms INTEGER NOT NULL,
  PRIMARY KEY (uid, key),
  CHECK ((evidence IS NULL) <> (outcome IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (uid, used_at_ms);
`;

const SCHEMA: StoreSchema = { version: 1, create: CREATE };

export interface UsedKey {
  readonly uid: number;
  readonly key: string;
  readonly callSha256: string;
}

export type KeyRecord = UsedKey &
  (
    | { readonly state: "begun"; readonly evidence: string }
    | { readonly state: "done"; readonly outcome: string }
  );

/** Done, and to be written soon. */
interface Soon {
  readonly record: KeyRecord & { readonly state: "done" };
  readonly failed: (error: unknown) => void;
}

/** One of the two is there. */
interface Written {
  readonly used: UsedKey;
  readonly evidence: string | null;
  readonly outcome: string | null;
}

export class KeyStore implements Disposable {
  readonly #file: StoreFile;
  readonly #nowMs: () => number;
  readonly #statements = new Map<string, StatementSync>();
  readonly #together: TurnBatch<Written>;
  /** Done, and not yet on disk. */
  readonly #unwritten = new Map<string, KeyRecord>();
  /** Those of them that are not on their way there. */
  #soon: Soon[] = [];
  #soonTimer: NodeJS.Timeout | undefined;
  #lastUnwritten: Promise<void> | undefined;
  /** When the newest was used. */
  #latestMs: number;
  /** Users whose keys were added to since their old ones went, and how many writes that were. */
  readonly #unpruned = new Set<number>();
  #unprunedWrites = 0;

  /** Opens or makes the file; throws where a newer version of thinpoold wrote it. */
  constructor(path: string, nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.#file = new StoreFile(path, SCHEMA);
    this.#together = new TurnBatch((all) => {
      this.#file.write(() => {
        for (const { used, evidence, outcome } of all) this.#put(used, evidence, outcome);
        this.#pruneInTime();
      });
      return this.#file.lasting();
    });
    this.#file.database
      .prepare("DELETE FROM keys WHERE outcome IS NOT NULL AND used_at_ms <= ?")
      .run(this.#oldestMs());
    const newest = this.#file.database.prepare("SELECT max(used_at_ms) AS at FROM keys").get();
    this.#latestMs = Number(newest?.["at"] ?? 0);
  }

  find(uid: number, key: string): KeyRecord | undefined {
    const unwritten = this.#unwritten.get(nameOf({ uid, key }));
    if (unwritten !== undefined) return unwritten;
    const row = this.#statement(
      "SELECT * FROM keys WHERE uid = ? AND key = ? AND used_at_ms > ?",
    ).get(uid, key, this.#oldestMs());
    return row === undefined ? undefined : recordFrom(row);
  }

  /** Those that a crash cut short. */
  begun(): readonly KeyRecord[] {
    return this.#statement("SELECT * FROM keys WHERE outcome IS NULL").all().map(recordFrom);
  }

  /**
   * It is about to be done: what to look for, should this be the last that is heard of it. On disk when it
   * returns: only for whom a wait would be for nothing, since what he would write changes meanwhile.
   */
  begin(used: UsedKey, evidence: string): void {
    inTransaction(this.#file.database, () => this.#put(used, evidence, null));
  }

  /** As `begin`; what is asked for at the same moment, `doneTogether` too, shares one commit. */
  beginTogether(used: UsedKey, evidence: string): Promise<void> {
    return this.#together.add({ used, evidence, outcome: null });
  }

  /** It was done; what is asked for at the same moment shares one commit. */
  doneTogether(used: UsedKey, outcome: string): Promise<void> {
    return this.#together.add({ used, evidence: null, outcome });
  }

  /**
   * As `doneTogether`, for what is found again without it as long as it is there: on disk after SOON_MS at
   * the latest, and before anything is changed that waits for `settled`. `failed`: it could not be written.
   */
  doneSoon(used: UsedKey, outcome: string, failed: (error: unknown) => void): void {
    const record = { ...used, state: "done", outcome } as const;
    this.#unwritten.set(nameOf(used), record);
    this.#soon.push({ record, failed });
    if (this.#soon.length >= MAX_SOON) this.#writeSoon();
    else this.#soonTimer ??= setTimeout(() => this.#writeSoon(), SOON_MS);
  }

  /** Resolves once all that was `doneSoon` or `forget` before is on disk. Undefined: it is. */
  settled(): Promise<void> | undefined {
    this.#writeSoon();
    return this.#lastUnwritten;
  }

  #writeSoon(): void {
    clearTimeout(this.#soonTimer);
    this.#soonTimer = undefined;
    const soon = this.#soon;
    this.#soon = [];
    for (const { record, failed } of soon) {
      const written = this.doneTogether(record, record.outcome)
        .catch(failed)
        .finally(() => {
          const name = nameOf(record);
          if (this.#unwritten.get(name) === record) this.#unwritten.delete(name);
        });
      this.#follow(written);
    }
  }

  /** `settled` waits for it, and for those before it. */
  #follow(written: Promise<void>): void {
    const both = Promise.all([this.#lastUnwritten, written]).then(() => undefined);
    const last = both.finally(() => {
      if (this.#lastUnwritten === last) this.#lastUnwritten = undefined;
    });
    this.#lastUnwritten = last;
  }

  /** It was not done: the key is free. On disk as what is `doneSoon`; `failed` likewise. */
  forget({ uid, key }: UsedKey, failed: (error: unknown) => void): void {
    this.#file.write(() =>
      this.#statement("DELETE FROM keys WHERE uid = ? AND key = ?").run(uid, key),
    );
    this.#follow(this.#file.lasting().catch(failed));
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #oldestMs(): number {
    return this.#nowMs() - KEY_LIFETIME_MS;
  }

  #put({ uid, key, callSha256 }: UsedKey, evidence: string | null, outcome: string | null): void {
    // Later than all before, also where the clock was set back: which are a user's last ones hangs on it.
    this.#latestMs = Math.max(this.#nowMs(), this.#latestMs + 1);
    this.#statement("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?)").run(
      ...[uid, key, callSha256, evidence, outcome, this.#latestMs],
    );
    this.#unpruned.add(uid);
    this.#unprunedWrites += 1;
  }

  /** What is being done stays, however old: its outcome is still to be settled. */
  #pruneInTime(): void {
    if (this.#unprunedWrites < PRUNE_STEP) return;
    const statement = this.#statement(
      `DELETE FROM keys WHERE uid = ?1 AND outcome IS NOT NULL AND used_at_ms <= max(?2,
         coalesce((SELECT used_at_ms FROM keys WHERE uid = ?1
                   ORDER BY used_at_ms DESC LIMIT 1 OFFSET ?3), 0))`,
    );
    for (const uid of this.#unpruned) statement.run(uid, this.#oldestMs(), MAX_KEYS_PER_UID);
    this.#unpruned.clear();
    this.#unprunedWrites = 0;
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#file.database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

function nameOf({ uid, key }: Pick<UsedKey, "uid" | "key">): string {
  return `${uid} ${key}`;
}

function recordFrom(row: Readonly<Record<string, unknown>>): KeyRecord {
  const used = {
    uid: Number(row["uid"]),
    key: String(row["key"]),
    callSha256: String(row["call_sha256"]),
  };
  const { outcome, evidence } = row;
  return typeof outcome === "string"
    ? { ...used, state: "done", outcome }
    : { ...used, state: "begun", evidence: String(evidence) };
}
