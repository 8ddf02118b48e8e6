/**
 * The events in the ledger. Those of a device's life are written by the schema's triggers, in the
 * commit that records the change; they carry its transaction id and count when the record does
 * (INV-1). All others wait here for the next commit, whoever makes it, so that they cost no fsync of
 * their own while the pool is in use; without one `EventLog` flushes them.
 */
import type { TransactionId } from "@thinpool/dm-native";
import type { LedgerDatabase } from "../store/database.ts";
import { bodyOf, detailOf, type PoolEvent, type PoolEventBody } from "./event.ts";

/** How many are kept: who was away for longer is told so. */
export const MAX_KEPT_EVENTS = 10_000;
/** Old ones go so many at a time, so that few commits have to touch their pages. */
const PRUNE_STEP = 100;
/** Unsettled events are among the last so many: a group of operations is smaller. */
const MAX_UNSETTLED_EVENTS = 4096;
/** Buffered without a commit in between; more can't happen within one flush interval. */
const MAX_BUFFERED_EVENTS = 4096;

/** An activation's name is looked up when it is written: the caller of `note` need not know it. */
export type NotedEvent =
  | { readonly body: PoolEventBody }
  | { readonly type: "device-activated" | "device-deactivated"; readonly deviceUuid: string };

type Buffered = NotedEvent & { readonly atMs: number };

export class EventTable {
  readonly #db: LedgerDatabase;
  /** There may be events that a reader has not seen. */
  onCommitted: () => void = () => undefined;
  #buffered: Buffered[] = [];

  constructor(db: LedgerDatabase) {
    this.#db = db;
  }

  get hasBuffered(): boolean {
    return this.#buffered.length > 0;
  }

  /** Remembers it for the next commit. */
  note(event: NotedEvent, atMs: number): void {
    // An overflow writes at once: late by an fsync, but nothing is lost.
    if (this.#buffered.length >= MAX_BUFFERED_EVENTS) this.flush();
    this.#buffered.push({ ...event, atMs });
  }

  flush(): void {
    if (this.hasBuffered) this.#db.write("events", () => undefined);
  }

  /** Called inside every commit's transaction, before its own statements. */
  writeBuffered(): void {
    for (const event of this.#buffered) {
      if ("body" in event) {
        this.#insert(event.atMs, event.body.type, null, detailOf(event.body));
        continue;
      }
      const { type, deviceUuid, atMs } = event;
      const row = this.#db.get(
        "SELECT name, owner_uid FROM device_index WHERE uuid = ?",
        deviceUuid,
      );
      // Its making was undone meanwhile: readers have never heard of it.
      if (row === undefined) continue;
      const detail = { deviceUuid, name: row["name"], ownerUid: Number(row["owner_uid"]) };
      this.#insert(atMs, type, deviceUuid, JSON.stringify(detail));
    }
  }

  /**
   * In a ledger that is put back: numbers go on after `last`, the highest that was given away, so that
   * none comes to mean two things. Who knows an event that was taken back with the rest is behind.
   */
  goOnAfter(last: number): void {
    this.#db.write("events of a ledger that is put back", () => {
      this.#db.run("DELETE FROM event");
      this.#db.run(
        `INSERT INTO event (number, at_ms, transaction_id, type, device_uuid, detail)
         VALUES (?, ${NOW_MS}, NULL, 'undone', NULL, json_object('was', 'restore'))`,
        BigInt(last),
      );
    });
  }

  /** The transaction that `writeBuffered` was part of is committed. */
  committed(): void {
    this.#buffered = [];
    this.onCommitted();
  }

  /** The last event that counts when the pool is at `current`, and lasts; 0 where there is none. */
  last(current: TransactionId): number {
    return Math.min(this.#lastThatCounts(current), this.#db.lastingEvents ?? Infinity);
  }

  #lastThatCounts(current: TransactionId): number {
    const unsettled = this.#db.get(
      `SELECT min(number) AS number FROM event
       WHERE number > (SELECT max(number) FROM event) - ${MAX_UNSETTLED_EVENTS}
         AND transaction_id > ?`,
      current,
    )?.["number"];
    if (typeof unsettled === "bigint") return Number(unsettled) - 1;
    return this.highest();
  }

  /** The highest number that was given away, whether it counts yet or not. */
  highest(): number {
    return Number(this.#db.get("SELECT max(number) AS number FROM event")?.["number"] ?? 0n);
  }

  /** The first event that is still kept; 1 where there is none yet. */
  first(): number {
    return Number(this.#db.get("SELECT min(number) AS number FROM event")?.["number"] ?? 1n);
  }

  /** Those after `after` up to and including `last`, at most `limit`. */
  page(after: number, last: number, limit: number): readonly PoolEvent[] {
    const rows = this.#db.all(
      `SELECT number, at_ms, type, detail FROM event
       WHERE number > ? AND number <= ? ORDER BY number LIMIT ?`,
      BigInt(after),
      BigInt(last),
      BigInt(limit),
    );
    return rows.map((row) => ({
      ...bodyOf(row["type"] as string, row["detail"] as string),
      number: Number(row["number"]),
      atMs: Number(row["at_ms"]),
    }));
  }

  #insert(atMs: number, type: string, deviceUuid: string | null, detail: string): void {
    this.#db.run(
      "INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail) VALUES (?, NULL, ?, ?, ?)",
      BigInt(atMs),
      type,
      deviceUuid,
      detail,
    );
  }
}

/** Unix time in ms, in SQL. */
export const NOW_MS: string = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
/** The events of a record's operation that was undone keep their number and lose their meaning. */
const undo = (type: string, transactionId: string): string => `
  UPDATE event SET type = 'undone', transaction_id = NULL, detail = json_object('was', type)
  WHERE number > (SELECT max(number) FROM event) - ${MAX_UNSETTLED_EVENTS}
    AND device_uuid = OLD.uuid AND type = '${type}' AND transaction_id = ${transactionId};`;

const created = (atMs: string): string => `
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (${atMs}, NEW.transaction_id, 'device-created', NEW.uuid, json_object(
    'name', NEW.name, 'deviceUuid', NEW.uuid, 'originUuid', NEW.origin_uuid,
    'sizeBytes', CAST(NEW.size_bytes AS TEXT), 'ownerUid', NEW.owner_uid));`;
const removed = (transactionId: string): string => `
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (${NOW_MS}, ${transactionId}, 'device-removed', NEW.uuid,
    json_object('name', OLD.name, 'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid));`;

/** Part of the ledger's schema. Numbers are the rows' own: the last row is never deleted. */
export const EVENT_SCHEMA: string = `
CREATE TABLE event (
  number INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  -- It counts once the pool has reached this transaction; NULL: at once.
  transaction_id INTEGER,
  type TEXT NOT NULL,
  device_uuid TEXT,
  -- JSON; sizes are strings.
  detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER event_bounded AFTER INSERT ON event WHEN NEW.number % ${PRUNE_STEP} = 0 BEGIN
  DELETE FROM event WHERE number <= NEW.number - ${MAX_KEPT_EVENTS};
END;
`;

/**
 * The same of the table of devices, with which they go. `createdAtMs` is SQL: when a row's creation was.
 */
export const deviceEventSchema = (
  createdAtMs: string,
): string => `-- A row that is still to be filled counts from the end of that on (INV-12).
CREATE TRIGGER event_created AFTER INSERT ON device WHEN NEW.filling = 0 BEGIN ${created(createdAtMs)}
END;
CREATE TRIGGER event_filled AFTER UPDATE OF filling ON device
WHEN OLD.filling = 1 AND NEW.filling = 0 BEGIN ${created(NOW_MS)}
END;
CREATE TRIGGER event_emptied AFTER UPDATE OF filling ON device
WHEN OLD.filling = 0 AND NEW.filling = 1 BEGIN ${removed("NULL")}
END;
CREATE TRIGGER event_creation_undone AFTER DELETE ON device
WHEN OLD.deleting_transaction_id IS NULL BEGIN ${undo("device-created", "OLD.transaction_id")}
END;
CREATE TRIGGER event_removed AFTER UPDATE OF deleting_transaction_id ON device
WHEN NEW.filling = 0 AND OLD.deleting_transaction_id IS NULL
  AND NEW.deleting_transaction_id IS NOT NULL
BEGIN ${removed("NEW.deleting_transaction_id")}
END;
CREATE TRIGGER event_removal_undone AFTER UPDATE OF deleting_transaction_id ON device
WHEN OLD.deleting_transaction_id IS NOT NULL AND NEW.deleting_transaction_id IS NULL
BEGIN ${undo("device-removed", "OLD.deleting_transaction_id")}
END;
CREATE TRIGGER event_renamed AFTER UPDATE OF name ON device
WHEN OLD.name <> NEW.name AND NEW.filling = 0 BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (${NOW_MS}, NULL, 'device-renamed', NEW.uuid,
    json_object('name', NEW.name, 'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid,
      'from', OLD.name));
END;
CREATE TRIGGER event_resized AFTER UPDATE OF size_bytes ON device
WHEN OLD.size_bytes <> NEW.size_bytes BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (${NOW_MS}, NULL, 'device-resized', NEW.uuid, json_object('name', NEW.name,
    'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid,
    'sizeBytes', CAST(NEW.size_bytes AS TEXT), 'fromBytes', CAST(OLD.size_bytes AS TEXT)));
END;
`;
