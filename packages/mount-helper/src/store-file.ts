/** The daemon's own SQLite files in the pool's folder: each commit is on disk when it returns. */
import { DatabaseSync } from "node:sqlite";

export interface StoreSchema {
  /** PRAGMA user_version. */
  readonly version: number;
  /** Makes all of it in an empty file. */
  readonly create: string;
  /** From the version before to each later one. */
  readonly upgrades?: Readonly<Record<number, string>>;
}

/** Opens or makes the file (WAL, synchronous=FULL); throws where a newer version of thinpoold wrote it. */
export function openStoreFile(path: string, schema: StoreSchema): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    // EXCLUSIVE before the first access: no -shm file, and no file locks around each commit.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;");
    database.exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
    const found = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
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

/** All of it or nothing, on disk when it returns. */
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
