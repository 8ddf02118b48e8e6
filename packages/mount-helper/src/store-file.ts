/** The daemon's own SQLite files in the pool's folder. */
import { DatabaseSync } from "node:sqlite";
import { TurnBatch, WalFile, syncWal } from "@thinpool/thinpool";

export interface StoreSchema {
  /** PRAGMA user_version. */
  readonly version: number;
  /** Makes all of it in an empty file. */
  readonly create: string;
  /** From the version before to each later one. */
  readonly upgrades?: Readonly<Record<number, string>>;
}

/**
 * One of them, whose changes hold nobody up: each is written, and read by everybody and by the next process,
 * when `write` returns; the power may take it along until `lasting` has resolved.
 */
export class StoreFile implements Disposable {
  readonly database: DatabaseSync;
  readonly #wal: WalFile;
  readonly #syncs: TurnBatch<undefined>;
  #isClosed = false;

  /** Opens or makes the file; throws where a newer version of thinpoold wrote it. */
  constructor(path: string, schema: StoreSchema) {
    this.database = openStoreFile(path, schema);
    this.#wal = new WalFile(this.database);
    this.#syncs = new TurnBatch(
      // Closing the file has synced it.
      () => (this.#isClosed ? undefined : this.#wal.sync()),
      // Nobody waits for others: those that come while one is under way share the next.
      () => 1,
    );
  }

  /** All of it or nothing. Throws where it can't be written, and always once a sync has failed. */
  write(work: () => void): void {
    this.#wal.unsynced(() => inTransaction(this.database, work));
  }

  /** Resolves once all that was written before is on disk. Rejects where nobody knows whether it is. */
  lasting(): Promise<void> {
    return this.#syncs.add(undefined);
  }

  /** Throws once a sync has failed: what is read may not be what the next start reads. */
  assertSound(): void {
    this.#wal.assertSound();
  }

  close(): void {
    this.#isClosed = true;
    this.#wal[Symbol.dispose]();
    this.database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Opens or makes the file (WAL, synchronous=FULL); throws where a newer version of thinpoold wrote it. */
export function openStoreFile(path: string, schema: StoreSchema): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    // EXCLUSIVE before the first access: no -shm file, and no file locks around each commit.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;");
    database.exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
    const found = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
    // The log is there since something was read.
    syncWal(path);
    if (found > schema.version) {
      throw new Error(
        `${path} has version ${found}, this thinpoold knows ${schema.version}: update it`,
      );
    }
    if (found < schema.version) {
      const steps = found === 0 ? schema.create : upgradesFrom(path, found, schema);
      inTransaction(database, () => {
        database.exec(`${steps} PRAGMA user_version = ${schema.version};`);
      });
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function upgradesFrom(path: string, found: number, { version, upgrades }: StoreSchema): string {
  const steps: string[] = [];
  for (let to = found + 1; to <= version; to += 1) {
    const upgrade = upgrades?.[to];
    if (upgrade === undefined) throw new Error(`${path}: no way from version ${to - 1} on`);
    steps.push(upgrade);
  }
  return steps.join("\n");
}

/** All of it or nothing, on disk when it returns, as far as the database's setting says so. */
export function inTransaction(database: DatabaseSync, work: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    work();
    database.exec("COMMIT");
  } catch (error) {
    // SQLite rolls some failures back by itself, and then refuses a second time.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
