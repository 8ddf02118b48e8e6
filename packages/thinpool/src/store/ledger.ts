/**
 * The ledger: what exists in the pool, in one SQLite file. Every method that writes is one
 * transaction and one durable commit.
 *
 * Journal: WAL with synchronous=FULL costs one fsync per commit (the WAL's), where a rollback journal
 * costs three or more (journal, database, folder); a checkpoint adds two about every 1000 pages.
 * locking_mode=EXCLUSIVE keeps the WAL's index in memory: no -shm file, and no second process can
 * write even if it ignores our lock file. See docs/decisions/0002-ledger-and-transaction-ids.md.
 */
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import {
  MAX_THIN_ID,
  type ThinId,
  thinId,
  type TransactionId,
  transactionId,
} from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import { HealthRecords } from "../health/records.ts";
import type { FilesystemType } from "../kernel.ts";
import type { DeviceName } from "../names.ts";
import { migrate } from "./schema.ts";

export interface PoolRecord {
  readonly uuid: string;
  readonly state: "creating" | "created";
  readonly backing: "files" | "block";
  readonly dataPath: string;
  readonly metadataPath: string;
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
  readonly blockSectors: bigint;
  readonly lowWaterBlocks: bigint;
  readonly lastTransactionId: TransactionId;
  readonly createdAtMs: number;
}

export interface DeviceRecord {
  readonly uuid: string;
  readonly name: DeviceName;
  readonly thinId: ThinId;
  readonly sizeBytes: bigint;
  readonly filesystem: FilesystemType | "none";
  readonly originUuid: string | undefined;
  readonly ownerUid: number;
  readonly createdAtMs: number;
  readonly transactionId: TransactionId;
  readonly deletingTransactionId: TransactionId | undefined;
}

export type NewDevice = Omit<DeviceRecord, "thinId" | "transactionId" | "deletingTransactionId">;

type Row = Record<string, SQLOutputValue>;

export class Ledger {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Where the search for a free id starts: an id is not used again before all others were. */
  #nextThinId = 0;
  #commits = 0;
  readonly health: HealthRecords;

  private constructor(path: string, db: DatabaseSync) {
    this.#path = path;
    this.#db = db;
    this.health = new HealthRecords({
      write: (body) => this.#write(body),
      run: (sql, ...values) => this.#run(sql, ...values),
      get: (sql, ...values) => this.#get(sql, ...values),
    });
  }

  /**
   * Opens the file, which must exist (made with mode 0600 by the caller), and brings a new one to the
   * current schema.
   */
  static open(path: string): Ledger {
    const db = new DatabaseSync(path, { enableForeignKeyConstraints: true });
    try {
      // The order matters: EXCLUSIVE before the first access in WAL mode, so that no -shm is made.
      db.exec("PRAGMA locking_mode = EXCLUSIVE");
      const mode = db.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"];
      if (mode !== "wal") {
        throw new PoolError({
          code: "POOL_UNSUPPORTED",
          operation: "opening the ledger",
          object: path,
          reason: `SQLite chose the journal mode ${String(mode)} instead of WAL`,
          hint: "Put the pool's folder on a local filesystem.",
        });
      }
      db.exec("PRAGMA synchronous = FULL");
      migrate(db, path);
      const ledger = new Ledger(path, db);
      const highest = ledger.#get("SELECT max(thin_id) AS id FROM device")?.["id"];
      ledger.#nextThinId = typeof highest === "bigint" ? Number(highest) + 1 : 0;
      return ledger;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Durable commits since the file was opened; for tests and statistics. */
  get commits(): number {
    return this.#commits;
  }

  /** The sizes of what the pool stands on, for a ledger that is older than they are. */
  setSizes(dataBytes: bigint, metadataBytes: bigint): void {
    this.#write(() =>
      this.#run("UPDATE pool SET data_bytes = ?, metadata_bytes = ?", dataBytes, metadataBytes),
    );
  }

  /** A copy of the whole ledger as it is now, into a new file; for backups. Not synced. */
  copyInto(path: string): void {
    this.#db.prepare("VACUUM INTO ?").run(path);
  }

  close(): void {
    // Statements are finalised by the close; the last connection's close checkpoints the WAL.
    this.#db.close();
  }

  /** Undefined in a file where no pool was ever recorded. */
  pool(): PoolRecord | undefined {
    const row = this.#get("SELECT * FROM pool");
    return row === undefined ? undefined : poolRecord(row);
  }

  createPool(pool: Omit<PoolRecord, "state" | "lastTransactionId">): void {
    this.#write(() => {
      this.#run(
        `INSERT INTO pool (id, uuid, state, backing, data_path, metadata_path, data_bytes,
           metadata_bytes, block_sectors, low_water_blocks, last_transaction_id, created_at_ms)
         VALUES (1, ?, 'creating', ?, ?, ?, ?, ?, ?, ?, 0, ?)`,
        pool.uuid,
        pool.backing,
        pool.dataPath,
        pool.metadataPath,
        pool.dataBytes,
        pool.metadataBytes,
        pool.blockSectors,
        pool.lowWaterBlocks,
        pool.createdAtMs,
      );
    });
  }

  /** A pool that exists already, with all its devices: one commit, and it is created. */
  adoptPool(pool: Omit<PoolRecord, "state">, devices: readonly DeviceRecord[]): void {
    this.#write(() => {
      this.#run(
        `INSERT INTO pool (id, uuid, state, backing, data_path, metadata_path, data_bytes,
           metadata_bytes, block_sectors, low_water_blocks, last_transaction_id, created_at_ms)
         VALUES (1, ?, 'created', ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        pool.uuid,
        pool.backing,
        pool.dataPath,
        pool.metadataPath,
        pool.dataBytes,
        pool.metadataBytes,
        pool.blockSectors,
        pool.lowWaterBlocks,
        pool.lastTransactionId,
        pool.createdAtMs,
      );
      for (const device of devices) this.#insertDevice(device);
    });
  }

  /** What was found out about an adopted device once it could be read. */
  setDeviceContent(
    device: DeviceRecord,
    content: Pick<DeviceRecord, "sizeBytes" | "filesystem">,
  ): void {
    this.#write(() =>
      this.#run(
        "UPDATE device SET size_bytes = ?, filesystem = ? WHERE uuid = ?",
        content.sizeBytes,
        content.filesystem,
        device.uuid,
      ),
    );
  }

  /** Nothing of the pool counts any more, as of one whose creation never ended. */
  markPoolUncreated(): void {
    this.#write(() => this.#run("UPDATE pool SET state = 'creating'"));
  }

  markPoolCreated(): void {
    this.#write(() => this.#run("UPDATE pool SET state = 'created'"));
  }

  /**
   * Records that `device` shall exist from transaction `next` on, with a thin id that is free. Rows
   * whose deletion is settled go in the same commit, so that their names and ids are free for it.
   * DEVICE_EXISTS where the name is taken.
   */
  beginCreate(device: NewDevice, next: TransactionId): DeviceRecord {
    return this.#write(() => {
      this.#purge(previous(next));
      if (this.#get("SELECT 1 AS one FROM device WHERE name = ?", device.name) !== undefined) {
        throw new PoolError({
          code: "DEVICE_EXISTS",
          operation: "creation",
          object: device.name,
          reason: "a device of this name exists",
          hint: "Choose another name, or remove that device first.",
        });
      }
      const id = this.#takeFreeThinId();
      const intent = { ...device, thinId: id, transactionId: next };
      this.#insertDevice(intent);
      this.#setLastTransaction(next);
      return { ...intent, deletingTransactionId: undefined };
    });
  }

  /** The kernel has the record's thin id already: remembers that id as not ours, takes another. */
  passOverThinId(device: DeviceRecord, nowMs: number): DeviceRecord {
    return this.#write(() => {
      this.#run("INSERT INTO foreign_thin_id VALUES (?, ?)", device.thinId, nowMs);
      const id = this.#takeFreeThinId();
      this.#run("UPDATE device SET thin_id = ? WHERE uuid = ?", id, device.uuid);
      return { ...device, thinId: id };
    });
  }

  /** Takes the record of a creation back; its thin device is not in the kernel (any more). */
  undoCreate(device: DeviceRecord): void {
    this.#write(() => {
      this.#run("DELETE FROM device WHERE uuid = ?", device.uuid);
      this.#setLastTransaction(previous(device.transactionId));
    });
  }

  /** Records that the device shall be gone from transaction `next` on. */
  beginDelete(device: DeviceRecord, next: TransactionId): void {
    this.#write(() => {
      this.#purge(previous(next));
      this.#run("UPDATE device SET deleting_transaction_id = ? WHERE uuid = ?", next, device.uuid);
      this.#setLastTransaction(next);
    });
  }

  /** Takes the record of a deletion back; the kernel refused it. */
  undoDelete(device: DeviceRecord, next: TransactionId): void {
    this.#write(() => {
      this.#run("UPDATE device SET deleting_transaction_id = NULL WHERE uuid = ?", device.uuid);
      this.#setLastTransaction(previous(next));
    });
  }

  /** The device of this name that counts when the pool is at `current`. */
  byName(name: string, current: TransactionId): DeviceRecord | undefined {
    const row = this.#get(
      `SELECT * FROM device WHERE name = ? AND ${COUNTS}`,
      name,
      current,
      current,
    );
    return row === undefined ? undefined : deviceRecord(row);
  }

  byUuid(uuid: string, current: TransactionId): DeviceRecord | undefined {
    const row = this.#get(
      `SELECT * FROM device WHERE uuid = ? AND ${COUNTS}`,
      uuid,
      current,
      current,
    );
    return row === undefined ? undefined : deviceRecord(row);
  }

  /** All that count when the pool is at `current`, by name. */
  devices(current: TransactionId): readonly DeviceRecord[] {
    return this.#all(`SELECT * FROM device WHERE ${COUNTS} ORDER BY name`, current, current).map(
      deviceRecord,
    );
  }

  /** Every row, those that do not count (yet, or any more) included. */
  rows(): readonly DeviceRecord[] {
    return this.#all("SELECT * FROM device ORDER BY name").map(deviceRecord);
  }

  deviceCount(current: TransactionId): number {
    const row = this.#get(`SELECT count(*) AS n FROM device WHERE ${COUNTS}`, current, current);
    return Number(row?.["n"] ?? 0);
  }

  /** What was begun and had not ended when the pool was at `current`. */
  unsettled(current: TransactionId): {
    readonly creations: readonly DeviceRecord[];
    readonly deletions: readonly DeviceRecord[];
  } {
    return {
      creations: this.#all("SELECT * FROM device WHERE transaction_id > ?", current).map(
        deviceRecord,
      ),
      deletions: this.#all("SELECT * FROM device WHERE deleting_transaction_id > ?", current).map(
        deviceRecord,
      ),
    };
  }

  #insertDevice(device: Omit<DeviceRecord, "deletingTransactionId">): void {
    this.#run(
      `INSERT INTO device (uuid, name, thin_id, size_bytes, filesystem, origin_uuid, owner_uid,
         created_at_ms, transaction_id, deleting_transaction_id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)`,
      device.uuid,
      device.name,
      device.thinId,
      device.sizeBytes,
      device.filesystem,
      device.originUuid ?? null,
      device.ownerUid,
      device.createdAtMs,
      device.transactionId,
    );
  }

  #purge(current: TransactionId): void {
    this.#run("DELETE FROM device WHERE deleting_transaction_id <= ?", current);
  }

  #setLastTransaction(id: TransactionId): void {
    this.#run("UPDATE pool SET last_transaction_id = ?", id);
  }

  #takeFreeThinId(): ThinId {
    const id = this.#freeThinIdFrom(this.#nextThinId) ?? this.#freeThinIdFrom(0);
    if (id === undefined) {
      throw new PoolError({
        code: "POOL_NO_SPACE",
        operation: "creation",
        object: this.#path,
        reason: `all ${MAX_THIN_ID + 1} thin ids of the pool are in use`,
        hint: "Remove devices that are not needed.",
      });
    }
    this.#nextThinId = id + 1;
    return thinId(id);
  }

  /** The first id from `start` on that no row holds; the indexes make it one step but for full runs. */
  #freeThinIdFrom(start: number): number | undefined {
    if (start > MAX_THIN_ID) return undefined;
    const row = this.#get(
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

  /** One durable commit. A commit that fails leaves it open whether it lasted: see `LedgerCommitError`. */
  #write<T>(body: () => T): T {
    this.#db.exec("BEGIN IMMEDIATE");
    let result: T;
    try {
      result = body();
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
    try {
      this.#db.exec("COMMIT");
    } catch (error) {
      throw new LedgerCommitError(this.#path, error);
    }
    this.#commits += 1;
    return result;
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    statement.setReadBigInts(true);
    this.#statements.set(sql, statement);
    return statement;
  }

  #get(sql: string, ...values: readonly (bigint | number | string | null)[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string, ...values: readonly (bigint | number | string | null)[]): readonly Row[] {
    return this.#statement(sql).all(...values);
  }

  #run(sql: string, ...values: readonly (bigint | number | string | null)[]): void {
    this.#statement(sql).run(...values);
  }
}

/**
 * A COMMIT that failed (a disk that failed or is full). The WAL may or may not hold it, so the
 * transaction id that it used must not be used again in this run: the pool becomes degraded, and
 * opening it anew reads what the disk really holds (INV-7).
 */
export class LedgerCommitError extends Error {
  override readonly name = "LedgerCommitError";

  constructor(path: string, cause: unknown) {
    super(
      `the commit to ${path} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** A row counts from its transaction on, until its deletion's (INV-1). */
const COUNTS =
  "transaction_id <= ? AND (deleting_transaction_id IS NULL OR deleting_transaction_id > ?)";

function previous(id: TransactionId): TransactionId {
  return transactionId(id - 1n);
}

function poolRecord(row: Row): PoolRecord {
  return {
    uuid: row["uuid"] as string,
    state: row["state"] as PoolRecord["state"],
    backing: row["backing"] as PoolRecord["backing"],
    dataPath: row["data_path"] as string,
    metadataPath: row["metadata_path"] as string,
    dataBytes: row["data_bytes"] as bigint,
    metadataBytes: row["metadata_bytes"] as bigint,
    blockSectors: row["block_sectors"] as bigint,
    lowWaterBlocks: row["low_water_blocks"] as bigint,
    lastTransactionId: transactionId(row["last_transaction_id"] as bigint),
    createdAtMs: Number(row["created_at_ms"]),
  };
}

function deviceRecord(row: Row): DeviceRecord {
  const deleting = row["deleting_transaction_id"];
  const origin = row["origin_uuid"];
  return {
    uuid: row["uuid"] as string,
    // Written through `deviceName` only.
    name: row["name"] as DeviceName,
    thinId: thinId(Number(row["thin_id"])),
    sizeBytes: row["size_bytes"] as bigint,
    filesystem: row["filesystem"] as DeviceRecord["filesystem"],
    originUuid: typeof origin === "string" ? origin : undefined,
    ownerUid: Number(row["owner_uid"]),
    createdAtMs: Number(row["created_at_ms"]),
    transactionId: transactionId(row["transaction_id"] as bigint),
    deletingTransactionId: typeof deleting === "bigint" ? transactionId(deleting) : undefined,
  };
}
