/**
 * The records of references, in a SQLite file of their own beside the pool's ledger. Each call is one
 * transaction that is on disk when it returns (synchronous=FULL): a crash finds it whole or not at all.
 */
import { DatabaseSync } from "node:sqlite";
import type { MountRecord, MountState, Reference } from "./record.ts";

/** PRAGMA user_version of this schema. */
const SCHEMA_VERSION = 1;

const SCHEMA = `
CREATE TABLE mounts (
  device_uuid TEXT PRIMARY KEY,
  device_name TEXT NOT NULL,
  owner_uid INTEGER NOT NULL,
  target TEXT NOT NULL,
  dm_uuid TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('mounting', 'mounted', 'unmounting')),
  mount_id INTEGER,
  dev TEXT,
  CHECK (state <> 'mounted' OR (mount_id IS NOT NULL AND dev IS NOT NULL))
) STRICT;
CREATE TABLE refs (
  id TEXT PRIMARY KEY,
  device_uuid TEXT NOT NULL REFERENCES mounts (device_uuid) ON DELETE CASCADE,
  holder_uid INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX refs_by_device ON refs (device_uuid);
PRAGMA user_version = ${SCHEMA_VERSION};
`;

export class ReferenceStore implements Disposable {
  readonly #database: DatabaseSync;

  /** Opens or makes the file; throws where a newer version of thinpoold wrote it. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    try {
      this.#database.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
      );
      const version = this.#database.prepare("PRAGMA user_version").get()?.["user_version"];
      if (version === 0) this.#transaction(() => this.#database.exec(SCHEMA));
      else if (version !== SCHEMA_VERSION) {
        throw new Error(
          `${path} has version ${String(version)}, this thinpoold knows ${SCHEMA_VERSION}: update it`,
        );
      }
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  load(): readonly MountRecord[] {
    const references = new Map<string, Reference[]>();
    const rows = this.#database.prepare("SELECT * FROM refs ORDER BY created_at_ms, id").all();
    for (const row of rows) {
      const device = String(row["device_uuid"]);
      const held = references.get(device) ?? [];
      held.push({
        id: String(row["id"]),
        holderUid: Number(row["holder_uid"]),
        createdAtMs: Number(row["created_at_ms"]),
      });
      references.set(device, held);
    }
    const mounts = this.#database.prepare("SELECT * FROM mounts ORDER BY device_name").all();
    return mounts.map((row) => ({
      deviceUuid: String(row["device_uuid"]),
      deviceName: String(row["device_name"]),
      ownerUid: Number(row["owner_uid"]),
      target: String(row["target"]),
      dmUuid: String(row["dm_uuid"]),
      // The table's CHECK allows only these.
      state: String(row["state"]) as MountState,
      mountId: row["mount_id"] === null ? undefined : Number(row["mount_id"]),
      dev: row["dev"] === null ? undefined : String(row["dev"]),
      references: references.get(String(row["device_uuid"])) ?? [],
    }));
  }

  /** Writes the record as it is now, with exactly its references. */
  save(record: MountRecord): void {
    this.#transaction(() => {
      this.#database
        .prepare(
          `INSERT INTO mounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (device_uuid) DO UPDATE SET device_name = excluded.device_name,
             owner_uid = excluded.owner_uid, target = excluded.target, dm_uuid = excluded.dm_uuid,
             state = excluded.state, mount_id = excluded.mount_id, dev = excluded.dev`,
        )
        .run(
          record.deviceUuid,
          record.deviceName,
          record.ownerUid,
          record.target,
          record.dmUuid,
          record.state,
          record.mountId ?? null,
          record.dev ?? null,
        );
      this.#database.prepare("DELETE FROM refs WHERE device_uuid = ?").run(record.deviceUuid);
      const insert = this.#database.prepare("INSERT INTO refs VALUES (?, ?, ?, ?)");
      for (const { id, holderUid, createdAtMs } of record.references) {
        insert.run(id, record.deviceUuid, holderUid, createdAtMs);
      }
    });
  }

  delete(deviceUuid: string): void {
    this.#database.prepare("DELETE FROM mounts WHERE device_uuid = ?").run(deviceUuid);
  }

  close(): void {
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #transaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      // SQLite rolls some failures back by itself, and then refuses a second time.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}
