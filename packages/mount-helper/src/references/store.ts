/**
 * What must outlive the daemon, in a SQLite file of its own beside the pool's ledger: the records of
 * mounts with their references, the sessions that hold some, and the ephemeral clones. Each call is
 * one transaction: a crash finds it whole or not at all. The next process reads it from when the call
 * returns; the power may take it along, with all after it, until `lasting` has resolved.
 */
import type { EphemeralRecord, EphemeralStore } from "./ephemerals.ts";
import type { Holder, Reference } from "./holder.ts";
import type { MountForm, MountRecord, MountState } from "./record.ts";
import type { SessionRecord, SessionStore } from "./sessions.ts";
import { StoreFile } from "../store-file.ts";
import type { StoreSchema } from "../store-file.ts";

const CREATE = `
CREATE TABLE mounts (
  id TEXT PRIMARY KEY,
  device_uuid TEXT NOT NULL,
  device_name TEXT NOT NULL,
  owner_uid INTEGER NOT NULL,
  owner_gid INTEGER NOT NULL,
  dm_uuid TEXT NOT NULL,
  place TEXT NOT NULL CHECK (place IN ('own', 'folder', 'block')),
  target TEXT NOT NULL,
  read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
  no_exec INTEGER NOT NULL CHECK (no_exec IN (0, 1)),
  no_sym_follow INTEGER NOT NULL CHECK (no_sym_follow IN (0, 1)),
  ownership TEXT NOT NULL CHECK (ownership IN ('mapped', 'top-folder')),
  lazy_after_ms INTEGER,
  state TEXT NOT NULL CHECK (
    state IN ('mounting', 'mounted', 'absent', 'releasing', 'unmounting', 'deactivating')),
  mount_id INTEGER,
  dev TEXT,
  boot_id TEXT NOT NULL,
  -- Of the target, where it is not the daemon's own.
  namespace INTEGER,
  CHECK (state NOT IN ('mounted', 'releasing') OR (mount_id IS NOT NULL AND dev IS NOT NULL))
) STRICT;
CREATE TABLE refs (
  id TEXT PRIMARY KEY,
  mount_id TEXT NOT NULL REFERENCES mounts (id) ON DELETE CASCADE,
  holder_uid INTEGER NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('session', 'lease', 'permanent')),
  session TEXT,
  ttl_ms INTEGER,
  ends_wall_ms INTEGER,
  ends_boot_ms INTEGER,
  ends_boot_id TEXT,
  created_at_ms INTEGER NOT NULL,
  CHECK (type <> 'session' OR session IS NOT NULL),
  CHECK (type <> 'lease' OR (ttl_ms IS NOT NULL AND ends_wall_ms IS NOT NULL
    AND ends_boot_ms IS NOT NULL AND ends_boot_id IS NOT NULL))
) STRICT;
CREATE INDEX refs_by_mount ON refs (mount_id);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  uid INTEGER NOT NULL,
  secret_sha256 TEXT NOT NULL,
  boot_id TEXT NOT NULL
) STRICT;
CREATE TABLE ephemerals (
  device_name TEXT PRIMARY KEY,
  device_uuid TEXT,
  session TEXT
) STRICT;
`;

const SCHEMA: StoreSchema = {
  version: 2,
  create: CREATE,
  upgrades: { 2: "ALTER TABLE mounts ADD COLUMN namespace INTEGER;" },
};

type Row = Readonly<Record<string, unknown>>;

export class ReferenceStore implements Disposable, SessionStore, EphemeralStore {
  readonly #file: StoreFile;

  /** Opens or makes the file; throws where a newer version of thinpoold wrote it. */
  constructor(path: string) {
    this.#file = new StoreFile(path, SCHEMA);
  }

  /** Resolves once all that was written before is on disk. */
  lasting(): Promise<void> {
    return this.#file.lasting();
  }

  load(): readonly MountRecord[] {
    const references = new Map<string, Reference[]>();
    for (const row of this.#all("SELECT * FROM refs ORDER BY created_at_ms, id")) {
      const mount = String(row["mount_id"]);
      const held = references.get(mount) ?? [];
      held.push(referenceFrom(row));
      references.set(mount, held);
    }
    return this.#all("SELECT * FROM mounts ORDER BY device_name, target").map((row) =>
      recordFrom(row, references.get(String(row["id"])) ?? []),
    );
  }

  /** Writes the record as it is now, with exactly its references. */
  save(record: MountRecord): void {
    const { form } = record;
    const { database } = this.#file;
    this.#file.write(() => {
      database
        .prepare(
          `INSERT INTO mounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET target = excluded.target, state = excluded.state,
             mount_id = excluded.mount_id, dev = excluded.dev, boot_id = excluded.boot_id`,
        )
        .run(
          record.id,
          record.deviceUuid,
          record.deviceName,
          record.owner.uid,
          record.owner.gid,
          record.dmUuid,
          record.place,
          record.target,
          Number(form.readOnly),
          Number(form.noExec),
          Number(form.noSymFollow),
          form.ownership,
          record.lazyAfterMs ?? null,
          record.state,
          record.mountId ?? null,
          record.dev ?? null,
          record.bootId,
          record.namespace ?? null,
        );
      database.prepare("DELETE FROM refs WHERE mount_id = ?").run(record.id);
      const insert = database.prepare("INSERT INTO refs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
      for (const { id, holderUid, holder, createdAtMs } of record.references) {
        insert.run(id, record.id, holderUid, holder.type, ...holderColumns(holder), createdAtMs);
      }
    });
  }

  delete(id: string): void {
    this.#write("DELETE FROM mounts WHERE id = ?", id);
  }

  loadSessions(): readonly SessionRecord[] {
    return this.#all("SELECT * FROM sessions").map((row) => ({
      id: String(row["id"]),
      uid: Number(row["uid"]),
      secretSha256: String(row["secret_sha256"]),
      bootId: String(row["boot_id"]),
    }));
  }

  saveSession({ id, uid, secretSha256, bootId }: SessionRecord): void {
    this.#write("INSERT INTO sessions VALUES (?, ?, ?, ?)", id, uid, secretSha256, bootId);
  }

  deleteSession(id: string): void {
    this.#write("DELETE FROM sessions WHERE id = ?", id);
  }

  loadEphemerals(): readonly EphemeralRecord[] {
    return this.#all("SELECT * FROM ephemerals").map((row) => ({
      deviceName: String(row["device_name"]),
      deviceUuid: textOf(row["device_uuid"]),
      session: textOf(row["session"]),
    }));
  }

  saveEphemeral({ deviceName, deviceUuid, session }: EphemeralRecord): void {
    const columns = [deviceName, deviceUuid ?? null, session ?? null];
    this.#write("INSERT OR REPLACE INTO ephemerals VALUES (?, ?, ?)", ...columns);
  }

  deleteEphemeral(deviceName: string): void {
    this.#write("DELETE FROM ephemerals WHERE device_name = ?", deviceName);
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #write(statement: string, ...values: readonly (string | number | null)[]): void {
    this.#file.write(() => this.#file.database.prepare(statement).run(...values));
  }

  #all(query: string): readonly Row[] {
    return this.#file.database.prepare(query).all();
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

/** The columns from "session" to "ends_boot_id". */
function holderColumns(holder: Holder): readonly (string | number | null)[] {
  switch (holder.type) {
    case "session":
      return [holder.session, null, null, null, null];
    case "lease": {
      const { wallMs, bootMs, bootId } = holder.deadline;
      return [null, holder.ttlMs, wallMs, bootMs, bootId];
    }
    case "permanent":
      return [null, null, null, null, null];
  }
}

function holderFrom(row: Row): Holder {
  switch (row["type"]) {
    case "session":
      return { type: "session", session: String(row["session"]) };
    case "lease":
      return {
        type: "lease",
        ttlMs: Number(row["ttl_ms"]),
        deadline: {
          wallMs: Number(row["ends_wall_ms"]),
          bootMs: Number(row["ends_boot_ms"]),
          bootId: String(row["ends_boot_id"]),
        },
      };
    default:
      // The table's CHECK allows nothing else.
      return { type: "permanent" };
  }
}

function referenceFrom(row: Row): Reference {
  return {
    id: String(row["id"]),
    holderUid: Number(row["holder_uid"]),
    holder: holderFrom(row),
    createdAtMs: Number(row["created_at_ms"]),
  };
}

function recordFrom(row: Row, references: readonly Reference[]): MountRecord {
  return {
    id: String(row["id"]),
    deviceUuid: String(row["device_uuid"]),
    deviceName: String(row["device_name"]),
    owner: { uid: Number(row["owner_uid"]), gid: Number(row["owner_gid"]) },
    dmUuid: String(row["dm_uuid"]),
    target: String(row["target"]),
    namespace: numberOf(row["namespace"]),
    // The table's CHECKs allow only these.
    place: String(row["place"]) as MountRecord["place"],
    form: {
      readOnly: row["read_only"] === 1,
      noExec: row["no_exec"] === 1,
      noSymFollow: row["no_sym_follow"] === 1,
      ownership: String(row["ownership"]) as MountForm["ownership"],
    },
    lazyAfterMs: numberOf(row["lazy_after_ms"]),
    state: String(row["state"]) as MountState,
    mountId: numberOf(row["mount_id"]),
    dev: textOf(row["dev"]),
    bootId: String(row["boot_id"]),
    references,
  };
}
