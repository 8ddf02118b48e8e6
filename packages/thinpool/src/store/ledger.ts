/**
 * The ledger: what exists in the pool, in one SQLite file. Every method that writes is one
 * transaction and one durable commit.
 */
import { type ThinId, type TransactionId, transactionId } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import type { EventTable } from "../events/event-table.ts";
import { HealthRecords } from "../health/records.ts";
import type { DeviceName } from "../names.ts";
import type { SpacePolicy } from "../space/policy.ts";
import { type CommitObserver, LedgerDatabase, type UnsyncedCommit } from "./database.ts";
import { Journal } from "./journal.ts";
import {
  type DeviceRecord,
  deviceRecord,
  type Labels,
  type NewDevice,
  type NewPool,
  type PoolRecord,
  poolRecord,
} from "./records.ts";
import { Remembered } from "./remembered.ts";
import { SpaceTable } from "./space-table.ts";
import { ThinIds } from "./thin-ids.ts";

export type { CommitObserver } from "./database.ts";
export { LedgerCommitError } from "./commit-error.ts";
export type { DeviceRecord, NewDevice, NewPool, PoolRecord } from "./records.ts";

/** What one member of a group wants in the ledger: all of it, or the member is taken out. */
export interface Intent {
  readonly creations: readonly NewDevice[];
  readonly deletions: readonly DeviceRecord[];
  /** Given the sum that all devices promise, its creations among them: why they can't be. */
  readonly refuse?: ((promisedBytes: bigint) => PoolError | undefined) | undefined;
}

/** The records of a member's creations, or why it can't be. */
export type IntentOutcome = readonly DeviceRecord[] | PoolError;

interface Owned {
  readonly devices: number;
  readonly sizeBytes: bigint;
}

/** Of all intents none could be recorded: the commit is not made. */
class NothingRecorded extends Error {}

export class Ledger {
  readonly db: LedgerDatabase;
  readonly journal: Journal;
  readonly events: EventTable;
  readonly space: SpaceTable;
  readonly health: HealthRecords;
  readonly #thinIds: ThinIds;
  /** One operation asks several times, and a burst of requests each for itself. */
  readonly #named: Remembered<DeviceRecord | undefined>;
  readonly #owned: Remembered<Owned>;

  private constructor(db: LedgerDatabase) {
    this.db = db;
    this.journal = new Journal(db);
    this.events = db.events;
    this.space = new SpaceTable(db);
    this.health = new HealthRecords(db);
    this.#thinIds = new ThinIds(db);
    this.#named = new Remembered(db, (name, current) =>
      this.#one(`${FOUND} WHERE found.name = ? AND ${COUNTS}`, name, current, current),
    );
    this.#owned = new Remembered(db, (ownerUid, current) => this.#ownedBy(ownerUid, current));
  }

  /**
   * Opens the file, which must exist (made with mode 0600 by the caller), and brings a new one to the
   * current schema.
   */
  static open(path: string, observer?: CommitObserver): Ledger {
    const db = new LedgerDatabase(path, observer);
    try {
      return new Ledger(db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Durable commits since the file was opened; for tests and statistics. */
  get commits(): number {
    return this.db.commits;
  }

  /** A copy of the whole ledger as it is now, into a new file; for backups. Not synced. */
  copyInto(path: string): void {
    this.db.run("VACUUM INTO ?", path);
  }

  close(): void {
    this.db.close();
  }

  /** Undefined in a file where no pool was ever recorded. */
  pool(): PoolRecord | undefined {
    const row = this.db.get(`SELECT pool.*, device_total.last_transaction FROM pool, device_total`);
    return row === undefined ? undefined : poolRecord(row);
  }

  createPool(pool: NewPool, policy: SpacePolicy): void {
    this.db.write("pool", () => {
      this.#insertPool(pool, "creating", transactionId(0));
      this.space.writePolicy(policy);
    });
  }

  /** A pool that exists already, with all its devices: one commit, and it is created. */
  adoptPool(
    pool: NewPool & Pick<PoolRecord, "lastTransactionId">,
    policy: SpacePolicy,
    devices: readonly DeviceRecord[],
  ): void {
    this.db.write("pool adopted", () => {
      this.#insertPool(pool, "created", pool.lastTransactionId);
      this.space.writePolicy(policy);
      for (const device of devices) this.#insert(device);
    });
  }

  /** What was found out about an adopted device once it could be read. */
  setDeviceContent(
    device: DeviceRecord,
    content: Pick<DeviceRecord, "sizeBytes" | "filesystem">,
  ): void {
    this.db.write("content of an adopted device", () =>
      this.db.run(
        `UPDATE device SET size_bytes = ?, filesystem = ? WHERE ${BY_UUID}`,
        content.sizeBytes,
        content.filesystem,
        device.uuid,
      ),
    );
  }

  /** Nothing of the pool counts any more, as of one whose creation never ended. */
  markPoolUncreated(): void {
    this.db.write("pool given up", () => this.db.run("UPDATE pool SET state = 'creating'"));
  }

  /** Where it belongs from now on. */
  setFolder(folder: string): void {
    this.db.write("folder", () => this.db.run("UPDATE pool SET folder = ?", folder));
  }

  /** The sizes of what the pool stands on, for a ledger that is older than they are. */
  setSizes(dataBytes: bigint, metadataBytes: bigint): void {
    this.db.write("sizes", () =>
      this.db.run(
        `UPDATE pool SET data_bytes = ?, metadata_bytes = ?, data_target_bytes = ?,
           metadata_target_bytes = ?`,
        dataBytes,
        metadataBytes,
        dataBytes,
        metadataBytes,
      ),
    );
  }

  markPoolCreated(): void {
    this.db.write("pool created", () => this.db.run("UPDATE pool SET state = 'created'"));
  }

  /**
   * One commit for a group: what each member's intent names shall exist, or be gone, from transaction
   * `next` on. A member that can't be (DEVICE_EXISTS, no thin id left) is left out of it. Rows whose
   * deletion is settled go in the same commit, so that their names and ids are free for it. The commit is to be
   * synced before the kernel is asked for anything (INV-3); undefined: nothing is recorded.
   */
  beginGroup(
    intents: readonly Intent[],
    next: TransactionId,
  ): { readonly outcomes: readonly IntentOutcome[]; readonly commit: UnsyncedCommit | undefined } {
    let outcomes: readonly IntentOutcome[] = [];
    let commit: UnsyncedCommit | undefined;
    try {
      commit = this.db.writeUnsynced("intents", () => {
        this.#purge(previous(next));
        // One alone needs no part of its own: where it can't be, there is nothing to commit.
        const alone = intents.length === 1;
        outcomes = intents.map((intent) => this.#recordIntent(intent, next, alone));
        if (outcomes.every((outcome) => outcome instanceof PoolError)) throw new NothingRecorded();
      });
    } catch (error) {
      if (!(error instanceof NothingRecorded)) throw error;
    }
    return { outcomes, commit };
  }

  /**
   * Takes intents of the group at `next` back: of the creations no thin device is in the kernel (any
   * more), of the deletions none was begun. `empty`: nothing is left of the group, so `next` was never
   * used. The creations' thin ids are remembered, should the kernel have one of them all the same;
   * `sure`: it has none.
   */
  dropIntents(
    intent: Pick<Intent, "deletions"> & { readonly creations: readonly DeviceRecord[] },
    next: TransactionId,
    empty: boolean,
    sure = false,
  ): void {
    this.db.write("intents taken back", () => {
      for (const { uuid } of intent.creations) this.#takeBack(uuid, sure);
      for (const { uuid } of intent.deletions) {
        this.db.run(`UPDATE device SET deleting_transaction_id = NULL WHERE ${BY_UUID}`, uuid);
      }
      if (empty) this.#setLastTransaction(previous(next));
    });
  }

  /** The kernel has the record's thin id, and it is not ours: remembers that, takes another. */
  passOverThinId(device: DeviceRecord, reason: string, nowMs: number): DeviceRecord {
    return this.db.write("thin id passed over", () => {
      this.#markForeign(device.thinId, reason, nowMs);
      const id = this.#thinIds.take();
      this.db.run(`UPDATE device SET thin_id = ? WHERE ${BY_UUID}`, id, device.uuid);
      return { ...device, thinId: id };
    });
  }

  /** What the kernel has under the thin ids of these intents was made by somebody else. */
  disownThinIds(
    foreign: readonly { readonly thinId: ThinId; readonly reason: string }[],
    nowMs: number,
  ): void {
    if (foreign.length === 0) return;
    this.db.write("thin ids disowned", () => {
      for (const { thinId, reason } of foreign) this.#markForeign(thinId, reason, nowMs);
    });
  }

  /** The transaction of the last intent that named this id and was taken back, if it is remembered. */
  takenBackAt(id: ThinId): bigint | undefined {
    const row = this.db.get("SELECT * FROM taken_back_thin_id WHERE thin_id = ?", id);
    return row?.["transaction_id"] as bigint | undefined;
  }

  /** Thin ids that no row has, and that were not simply free when they were last asked for. */
  doubtfulThinIds(): DoubtfulThinIds {
    const takenBack = this.db.all(
      "SELECT * FROM taken_back_thin_id WHERE thin_id NOT IN (SELECT thin_id FROM device)",
    );
    const foreign = this.db.all("SELECT thin_id FROM foreign_thin_id");
    return {
      takenBack: new Map(
        takenBack.map((row) => [Number(row["thin_id"]), row["transaction_id"] as bigint]),
      ),
      foreign: new Set(foreign.map((row) => Number(row["thin_id"]))),
    };
  }

  /** The kernel has nothing of ours under ids that no record has, and nothing at all under `free`. */
  settleThinIds(free: readonly number[]): void {
    this.db.write("thin ids settled", () => {
      this.db.run("DELETE FROM taken_back_thin_id");
      for (const id of free) {
        this.db.run("DELETE FROM foreign_thin_id WHERE thin_id = ?", BigInt(id));
      }
    });
  }

  /**
   * From now on they count no longer, and opening removes them (INV-12): their content may go, their
   * names are free, once the commit lasts. No name of a device has a slash.
   */
  beginEmptying(devices: readonly DeviceRecord[]): UnsyncedCommit {
    return this.db.writeUnsynced("removal", () => {
      for (const { uuid } of devices) {
        this.db.run(
          `UPDATE device SET filling = 1, name = name || '/' || uuid WHERE ${BY_UUID}`,
          uuid,
        );
      }
    });
  }

  /** What somebody else had under this id is gone: it is free. */
  forgetForeignThinId(id: ThinId): void {
    this.db.write("foreign thin id gone", () =>
      this.db.run("DELETE FROM foreign_thin_id WHERE thin_id = ?", id),
    );
  }

  /** From now on it counts (INV-12). */
  finishFilling(device: DeviceRecord): DeviceRecord {
    this.db.write("filled", () =>
      this.db.run(`UPDATE device SET filling = 0 WHERE ${BY_UUID}`, device.uuid),
    );
    return { ...device, filling: false };
  }

  /**
   * `device` gets the content of `filled`, and that one what `device` had: from the commit on the
   * first is the reverted device, the second is what opening removes (INV-12).
   */
  swapContent(device: DeviceRecord, filled: DeviceRecord): DeviceRecord {
    return this.db.write("revert", () => {
      this.db.run(`DELETE FROM device WHERE ${BY_UUID}`, filled.uuid);
      this.db.run(
        `UPDATE device SET thin_id = ?, size_bytes = ?, filesystem = ?, external_origin = ?,
           growing = ?, transaction_id = ? WHERE ${BY_UUID}`,
        filled.thinId,
        filled.sizeBytes,
        filled.filesystem,
        filled.externalOrigin ?? null,
        Number(filled.growing),
        filled.transactionId,
        device.uuid,
      );
      this.#insert({ ...filled, thinId: device.thinId, sizeBytes: device.sizeBytes });
      const {
        thinId,
        sizeBytes,
        filesystem,
        externalOrigin,
        growing,
        transactionId: made,
      } = filled;
      const content = { thinId, sizeBytes, filesystem, externalOrigin, growing };
      // The thin device's own number is then one below the record's, as everywhere: `check` compares.
      return { ...device, ...content, transactionId: made };
    });
  }

  /** Changes what only the ledger knows of a device. DEVICE_EXISTS where its new name is taken. */
  updateDevice(device: DeviceRecord, change: DeviceChange, current: TransactionId): DeviceRecord {
    const changed: DeviceRecord = { ...device, ...change };
    this.db.write("device changed", () => {
      if (changed.name !== device.name) {
        this.#purge(current);
        // What went may have been all that named it.
        this.db.run(
          "UPDATE pool SET last_transaction_id = ? WHERE last_transaction_id < ?",
          current,
          current,
        );
        this.#refuseTakenName(changed.name);
      }
      this.db.run(
        `UPDATE device SET name = ?, owner_uid = ?, labels = ?, read_only = ?, size_bytes = ?,
           growing = ? WHERE ${BY_UUID}`,
        changed.name,
        changed.ownerUid,
        JSON.stringify(changed.labels),
        Number(changed.readOnly),
        changed.sizeBytes,
        Number(changed.growing),
        device.uuid,
      );
    });
    return changed;
  }

  /** The device of this name that counts when the pool is at `current`. */
  byName(name: string, current: TransactionId): DeviceRecord | undefined {
    return this.#named.get(name, current);
  }

  byUuid(uuid: string, current: TransactionId): DeviceRecord | undefined {
    return this.#one(`${FOUND} WHERE found.uuid = ? AND ${COUNTS}`, uuid, current, current);
  }

  /** All that count when the pool is at `current`, by name. */
  devices(current: TransactionId): readonly DeviceRecord[] {
    return this.#many(`${FOUND} WHERE ${COUNTS} ${BY_NAMES}`, current, current);
  }

  /** Of these the next `limit` behind a name; its cost follows `limit`, not the pool's devices. */
  devicesAfter(after: string, limit: number, current: TransactionId): readonly DeviceRecord[] {
    return this.#many(
      `${FOUND} WHERE found.name > ? AND ${COUNTS} ${BY_NAMES} LIMIT ?`,
      after,
      current,
      current,
      limit,
    );
  }

  /** Whether the user has more than so many when the pool is at `current`; counts no further. */
  ownsMoreThan(ownerUid: number, most: number, current: TransactionId): boolean {
    const row = this.db.get(
      `SELECT 1 FROM device_index AS found WHERE owner_uid = ? AND ${COUNTS} LIMIT 1 OFFSET ?`,
      BigInt(ownerUid),
      current,
      current,
      most,
    );
    return row !== undefined;
  }

  /** One user's of these; its cost follows that user's devices, not the pool's. */
  devicesOf(ownerUid: number, current: TransactionId): readonly DeviceRecord[] {
    return this.#many(
      `${FOUND} WHERE found.owner_uid = ? AND ${COUNTS} ${BY_NAMES}`,
      BigInt(ownerUid),
      current,
      current,
    );
  }

  /** Every row, those that do not count (yet, or any more) included. */
  rows(): readonly DeviceRecord[] {
    return this.#many(`${FOUND} ${BY_NAMES}`);
  }

  /** The devices that were made from this one, at most `limit`. */
  madeFrom(uuid: string, current: TransactionId, limit: number): readonly DeviceRecord[] {
    return this.#many(
      `${FOUND} WHERE found.origin_uuid = ? AND ${COUNTS} ${BY_NAMES} LIMIT ?`,
      uuid,
      current,
      current,
      limit,
    );
  }

  /** All that count when the pool is at `current`; looks only at those that are there and don't. */
  deviceCount(current: TransactionId): number {
    const row = this.db.get(
      `SELECT devices - (SELECT count(*) FROM device_index WHERE transaction_id > ?1
         OR filling = 1 OR deleting_transaction_id <= ?1) AS n FROM device_total`,
      current,
    );
    return Number(row?.["n"] ?? 0);
  }

  /** The sum of all sizes that count when the pool is at `current`; no adding up of all rows. */
  promisedBytes(current: TransactionId): bigint {
    const gone = this.db.get(
      `SELECT coalesce(sum(size_bytes), 0) AS bytes FROM device_index
         WHERE deleting_transaction_id <= ?`,
      current,
    );
    return this.space.promisedBytes() - (gone?.["bytes"] as bigint);
  }

  /** How many devices, and of what size together, belong to the user when the pool is at `current`. */
  owned(ownerUid: number, current: TransactionId): Owned {
    return this.#owned.get(String(ownerUid), current);
  }

  /** Made, never finished, and not on its way out either when the pool was at `current` (INV-12). */
  unfilled(current: TransactionId): readonly DeviceRecord[] {
    return this.#many(
      `${FOUND} WHERE found.filling = 1 AND found.transaction_id <= ?
         AND found.deleting_transaction_id IS NULL`,
      current,
    );
  }

  /** What was begun and had not ended when the pool was at `current`. */
  unsettled(current: TransactionId): {
    readonly creations: readonly DeviceRecord[];
    readonly deletions: readonly DeviceRecord[];
  } {
    return {
      creations: this.#many(`${FOUND} WHERE found.transaction_id > ?`, current),
      deletions: this.#many(`${FOUND} WHERE found.deleting_transaction_id > ?`, current),
    };
  }

  #insertPool(pool: NewPool, state: PoolRecord["state"], last: TransactionId): void {
    this.db.run(
      `INSERT INTO pool (id, uuid, state, backing, data_path, metadata_path, data_bytes,
         metadata_bytes, data_target_bytes, metadata_target_bytes, block_sectors,
         low_water_blocks, discard, last_transaction_id, created_at_ms, folder)
       VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      pool.uuid,
      state,
      pool.backing,
      pool.dataPath,
      pool.metadataPath,
      pool.dataBytes,
      pool.metadataBytes,
      pool.dataBytes,
      pool.metadataBytes,
      pool.blockSectors,
      pool.lowWaterBlocks,
      pool.discard,
      last,
      pool.createdAtMs,
      pool.folder ?? null,
    );
    this.#setLastTransaction(last);
  }

  #recordIntent(intent: Intent, next: TransactionId, alone: boolean): IntentOutcome {
    try {
      const recordAll = (): readonly DeviceRecord[] => {
        const records = intent.creations.map((device) => {
          this.#refuseTakenName(device.name);
          // Its caller chose it; found by the index it would be the failure of all that share the commit.
          if (this.hasUuid(device.uuid, previous(next))) throw takenUuid(device);
          const record: DeviceRecord = {
            ...device,
            thinId: this.#thinIds.take(),
            transactionId: next,
            deletingTransactionId: undefined,
          };
          this.#insert(record);
          return record;
        });
        const refused = intent.refuse?.(this.promisedBytes(previous(next)));
        if (refused !== undefined) throw refused;
        for (const { uuid } of intent.deletions) {
          this.db.run(`UPDATE device SET deleting_transaction_id = ? WHERE ${BY_UUID}`, next, uuid);
        }
        return records;
      };
      return alone ? recordAll() : this.db.part(recordAll);
    } catch (error) {
      if (error instanceof PoolError) return error;
      throw error;
    }
  }

  #purge(current: TransactionId): void {
    this.db.run(
      `DELETE FROM device WHERE thin_id IN
         (SELECT thin_id FROM device_index WHERE deleting_transaction_id <= ?)`,
      current,
    );
    // A message was accepted since: what the kernel said before of these ids has lasted.
    this.db.run("DELETE FROM taken_back_thin_id WHERE transaction_id < ?", current);
  }

  #takeBack(uuid: string, sure: boolean): void {
    const row = this.db.get("SELECT thin_id FROM device_index WHERE uuid = ?", uuid);
    if (row === undefined) return;
    if (!sure) {
      this.db.run(
        `INSERT OR REPLACE INTO taken_back_thin_id SELECT thin_id, transaction_id FROM device_index
           WHERE uuid = ? AND thin_id NOT IN (SELECT thin_id FROM foreign_thin_id)`,
        uuid,
      );
    }
    this.db.run(`DELETE FROM device WHERE ${BY_UUID}`, uuid);
    this.#thinIds.giveBack(Number(row["thin_id"]));
  }

  #markForeign(id: ThinId, reason: string, nowMs: number): void {
    this.db.run("INSERT OR IGNORE INTO foreign_thin_id VALUES (?, ?)", id, nowMs);
    this.journal.note([{ action: "pass-over-thin-id", object: `thin id ${id}`, reason }], nowMs);
  }

  #refuseTakenName(name: DeviceName): void {
    if (this.db.get("SELECT 1 AS one FROM device_index WHERE name = ?", name) === undefined) return;
    throw new PoolError({
      code: "DEVICE_EXISTS",
      operation: "creation",
      object: name,
      reason: "a device of this name exists",
      hint: "Choose another name, or remove that device first.",
    });
  }

  /** When the pool is at `current`: a row that does not count yet, or is to be removed, has it as well. */
  hasUuid(uuid: string, current: TransactionId): boolean {
    const row = this.db.get(
      `SELECT 1 AS one FROM device_index WHERE uuid = ?
         AND (deleting_transaction_id IS NULL OR deleting_transaction_id > ?)`,
      uuid,
      current,
    );
    return row !== undefined;
  }

  #insert(device: DeviceRecord): void {
    this.db.run(
      `INSERT INTO device (uuid, name, thin_id, size_bytes, filesystem, origin_uuid, owner_uid,
         created_at_ms, read_only, labels, external_origin, growing, filling, transaction_id,
         deleting_transaction_id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      device.uuid,
      device.name,
      device.thinId,
      device.sizeBytes,
      device.filesystem,
      device.originUuid ?? null,
      device.ownerUid,
      device.createdAtMs,
      Number(device.readOnly),
      JSON.stringify(device.labels),
      device.externalOrigin ?? null,
      Number(device.growing),
      Number(device.filling),
      device.transactionId,
      device.deletingTransactionId ?? null,
    );
  }

  #setLastTransaction(id: TransactionId): void {
    this.db.run("UPDATE pool SET last_transaction_id = ?", id);
    this.db.run("UPDATE device_total SET last_transaction = ?", id);
  }

  #ownedBy(ownerUid: string, current: TransactionId): Owned {
    const row = this.db.get(
      `SELECT count(*) AS devices, coalesce(sum(size_bytes), 0) AS size FROM device_index AS found
         WHERE owner_uid = ? AND ${COUNTS}`,
      BigInt(ownerUid),
      current,
      current,
    );
    return {
      devices: Number(row?.["devices"] ?? 0),
      sizeBytes: (row?.["size"] ?? 0n) as bigint,
    };
  }

  #one(sql: string, ...values: readonly (bigint | string)[]): DeviceRecord | undefined {
    const row = this.db.get(sql, ...values);
    return row === undefined ? undefined : deviceRecord(row);
  }

  #many(sql: string, ...values: readonly (bigint | number | string)[]): readonly DeviceRecord[] {
    return this.db.all(sql, ...values).map(deviceRecord);
  }
}

export interface DoubtfulThinIds {
  /** By thin id: the transaction of the intent that named it and was taken back. */
  readonly takenBack: ReadonlyMap<number, bigint>;
  /** Not ours. */
  readonly foreign: ReadonlySet<number>;
}

export interface DeviceChange {
  readonly name?: DeviceName;
  readonly ownerUid?: number;
  readonly labels?: Labels;
  readonly readOnly?: boolean;
  readonly sizeBytes?: bigint;
  readonly growing?: boolean;
}

/** Of a device's row. */
const BY_UUID = "thin_id = (SELECT thin_id FROM device_index WHERE uuid = ?)";
/** Rows by what the index says of them; CROSS: it goes first. */
const FOUND =
  "SELECT device.* FROM device_index AS found CROSS JOIN device ON device.thin_id = found.thin_id";
const BY_NAMES = "ORDER BY found.name";

/** A row counts from its transaction on, until its deletion's (INV-1), and once it is filled (INV-12). */
const COUNTS = `found.transaction_id <= ? AND found.filling = 0
  AND (found.deleting_transaction_id IS NULL OR found.deleting_transaction_id > ?)`;

export function takenUuid({ uuid, name }: Pick<NewDevice, "uuid" | "name">): PoolError {
  return new PoolError({
    code: "DEVICE_EXISTS",
    operation: "creation",
    object: name,
    reason: `a device of uuid ${uuid} exists`,
    hint: "Leave the uuid out, or give one that was never used.",
  });
}

function previous(id: TransactionId): TransactionId {
  return transactionId(id - 1n);
}
