/**
 * The ledger's SQLite file: pragmas, prepared statements, and the one way to a durable commit.
 *
 * Journal: WAL with synchronous=FULL costs one fsync per commit (the WAL's), where a rollback journal
 * costs three or more (journal, database, folder); a checkpoint adds two once in some hundred commits.
 * locking_mode=EXCLUSIVE keeps the WAL's index in memory: no -shm file, and no second process can
 * write even if it ignores our lock file. See docs/decisions/0002-ledger-and-transaction-ids.md.
 */
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import type { OpenFile } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import { EventTable } from "../events/event-table.ts";
import { indexDevices } from "./device-index.ts";
import { LedgerCommitError } from "./commit-error.ts";
import { migrate } from "./schema.ts";
import { WalFile, syncWal } from "./wal-file.ts";

/** Of the file's pages in memory, as a negative number of KiB: the ledger of some 50,000 devices. */
const CACHE_SIZE = -32_768;
/** While each row is read once, for the index: few of these pages are needed again. */
const INDEXING_CACHE_SIZE = -512;

const SQLITE_FULL = 13;

export type Row = Record<string, SQLOutputValue>;
export type SqlValue = bigint | number | string | null;

/**
 * Told right before and right after each durable commit, with the commit's name. For tests of crashes
 * and faults: what it throws counts as a commit that failed.
 */
export type CommitObserver = (phase: "before" | "after", commit: string) => void;

/** A commit that is read already, and lasts once its log is synced: by `sync`, or by who does that himself. */
export interface UnsyncedCommit {
  /** The log; undefined for a ledger in memory. */
  readonly file: OpenFile | undefined;
  /** Rejects with LedgerCommitError. */
  readonly sync: () => Promise<void>;
  /** The log was synced after the commit. */
  readonly synced: () => void;
  /** Syncing it failed. */
  readonly failed: (cause: unknown) => LedgerCommitError;
}

export class LedgerDatabase {
  readonly path: string;
  /** Rides along with every commit: `writeBuffered` in its transaction, `committed` after it. */
  readonly events: EventTable = new EventTable(this);
  readonly #db: DatabaseSync;
  readonly #observer: CommitObserver | undefined;
  readonly #statements = new Map<string, StatementSync>();
  readonly #wal: WalFile;
  /** The highest event before each commit that is not synced yet; the oldest commit first. */
  readonly #unsynced = new Map<number, number>();
  #commits = 0;
  #changes = 0;
  #isWriting = false;

  /** Opens the file, which must exist, and brings a new one to the current schema. */
  constructor(path: string, observer?: CommitObserver) {
    this.path = path;
    this.#observer = observer;
    syncWal(path);
    this.#db = new DatabaseSync(path, { enableForeignKeyConstraints: true });
    try {
      // The order matters: EXCLUSIVE before the first access in WAL mode, so that no -shm is made.
      this.#db.exec("PRAGMA locking_mode = EXCLUSIVE");
      const mode = this.#db.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"];
      if (mode !== "wal") {
        throw new PoolError({
          code: "POOL_UNSUPPORTED",
          operation: "opening the ledger",
          object: path,
          reason: `SQLite chose the journal mode ${String(mode)} instead of WAL`,
          hint: "Put the pool's folder on a local filesystem.",
        });
      }
      // Of a group's parts SQLite keeps what they overwrite: in memory, not by writes to a file of its own.
      this.#db.exec(
        `PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = ${CACHE_SIZE}`,
      );
      migrate(this.#db, path);
      this.#db.exec(`PRAGMA cache_size = ${INDEXING_CACHE_SIZE}`);
      indexDevices(this.#db);
      this.#db.exec(`PRAGMA cache_size = ${CACHE_SIZE}`);
      this.#wal = new WalFile(this.#db);
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Durable commits since the file was opened; for tests and statistics. */
  get commits(): number {
    return this.#commits;
  }

  /**
   * Another number whenever something may have been written; undefined in the middle of a write. What was
   * read at a number is what is there while it stays.
   */
  get version(): number | undefined {
    return this.#isWriting ? undefined : this.#changes;
  }

  /** Events up to this number last; undefined: all that are there. */
  get lastingEvents(): number | undefined {
    return this.#unsynced.values().next().value;
  }

  close(): void {
    this.#wal[Symbol.dispose]();
    // Statements are finalised by the close; the last connection's close checkpoints the WAL.
    this.#db.close();
  }

  /** One durable commit. A commit that fails leaves it open whether it lasted: see `LedgerCommitError`. */
  write<T>(commit: string, body: () => T): T {
    // After a sync that failed: this one's would say nothing of what was written before.
    this.#wal.assertSound();
    const result = this.#write(commit, body);
    // Its sync was of the whole log.
    this.#unsynced.clear();
    this.events.committed();
    return result;
  }

  /**
   * As `write`, without waiting for the disk: whoever acts on it syncs it first. Throws SQLite's own error
   * where the disk is full: then nothing has happened. Only for commits with which something begins.
   */
  writeUnsynced(commit: string, body: () => void): UnsyncedCommit {
    const highest = this.events.highest();
    try {
      this.#wal.unsynced(() => this.#write(commit, body));
    } catch (error) {
      throw error instanceof LedgerCommitError && isFull(error.cause) ? error.cause : error;
    }
    const number = this.#commits;
    this.#unsynced.set(number, highest);
    this.events.committed();
    const synced = (): void => {
      for (const earlier of this.#unsynced.keys()) {
        if (earlier <= number) this.#unsynced.delete(earlier);
      }
      this.events.onCommitted();
    };
    const sync = async (): Promise<void> => {
      await this.#wal.sync();
      synced();
    };
    const failed = (cause: unknown): LedgerCommitError => this.#wal.failed(cause);
    return { file: this.#wal.file, sync, synced, failed };
  }

  #write<T>(commit: string, body: () => T): T {
    this.#db.exec("BEGIN IMMEDIATE");
    this.#isWriting = true;
    this.#changes += 1;
    try {
      return this.#writeBegun(commit, body);
    } finally {
      this.#isWriting = false;
    }
  }

  #writeBegun<T>(commit: string, body: () => T): T {
    let result: T;
    try {
      this.events.writeBuffered();
      result = body();
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
    try {
      this.#observer?.("before", commit);
      this.#db.exec("COMMIT");
      this.#observer?.("after", commit);
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw new LedgerCommitError(this.path, error);
    }
    this.#commits += 1;
    return result;
  }

  /** A part of a `write` that can fail by itself: then only what it wrote is taken back. */
  part<T>(body: () => T): T {
    this.#db.exec("SAVEPOINT part");
    try {
      const result = body();
      this.#db.exec("RELEASE part");
      return result;
    } catch (error) {
      this.#db.exec("ROLLBACK TO part; RELEASE part");
      throw error;
    }
  }

  get(sql: string, ...values: readonly SqlValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  all(sql: string, ...values: readonly SqlValue[]): readonly Row[] {
    return this.#statement(sql).all(...values);
  }

  run(sql: string, ...values: readonly SqlValue[]): void {
    this.#statement(sql).run(...values);
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    statement.setReadBigInts(true);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/**
 * The log could not be written to the commit's end, which is what makes it one: nothing of it will ever be
 * read. A checkpoint that meets a full disk does not fail the commit (main.c: sqlite3WalDefaultHook).
 */
function isFull(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_FULL;
}
