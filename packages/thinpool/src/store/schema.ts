/** The ledger's tables. What was released stays as it is: a change is a new step at the end. */
import type { DatabaseSync } from "node:sqlite";
import { PoolError } from "../errors.ts";
import { deviceEventSchema, EVENT_SCHEMA } from "../events/event-table.ts";
import { SPACE_SCHEMA } from "./space-table.ts";

/** "thpl" in ASCII: pool.sqlite says of itself that it is ours (file(1) can show it). */
export const APPLICATION_ID = 0x7468706c;

const DEVICE_COLUMNS = `thin_id, uuid, name, size_bytes, filesystem, origin_uuid, owner_uid,
  created_at_ms, read_only, labels, external_origin, growing, filling, transaction_id,
  deleting_transaction_id`;

/** The same in all versions. */
const LASTING = `
CREATE TABLE pool (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uuid TEXT NOT NULL,
  -- 'creating': createPool did not end; nothing of it counts.
  state TEXT NOT NULL CHECK (state IN ('creating', 'created')),
  backing TEXT NOT NULL CHECK (backing IN ('files', 'block')),
  data_path TEXT NOT NULL,
  metadata_path TEXT NOT NULL,
  data_bytes INTEGER NOT NULL CHECK (data_bytes > 0),
  metadata_bytes INTEGER NOT NULL CHECK (metadata_bytes > 0),
  -- Above the sizes while the pool is being grown: see the table of growth in docs/INVARIANTS.md.
  data_target_bytes INTEGER NOT NULL CHECK (data_target_bytes >= data_bytes),
  metadata_target_bytes INTEGER NOT NULL CHECK (metadata_target_bytes >= metadata_bytes),
  block_sectors INTEGER NOT NULL CHECK (block_sectors BETWEEN 128 AND 2097152),
  low_water_blocks INTEGER NOT NULL CHECK (low_water_blocks >= 0),
  discard TEXT NOT NULL CHECK (discard IN ('passdown', 'no_passdown', 'ignore')),
  -- The highest transaction that was ever begun: the kernel's pool is at it or one before it.
  last_transaction_id INTEGER NOT NULL CHECK (last_transaction_id >= 0),
  created_at_ms INTEGER NOT NULL
) STRICT;

-- Ids under which the kernel's pool has what no record of ours explains: passed over, never deleted
-- (INV-4), until opening finds them gone.
CREATE TABLE foreign_thin_id (
  thin_id INTEGER PRIMARY KEY CHECK (thin_id BETWEEN 0 AND 16777215),
  found_at_ms INTEGER NOT NULL
) STRICT;

-- One row: see health/records.ts.
CREATE TABLE health (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  -- 0 from before the pool goes live until it was taken down in order: a crash leaves 0.
  clean_stop INTEGER NOT NULL CHECK (clean_stop IN (0, 1)),
  -- Set before the metadata snapshot is reserved, so that one left by a crash is known to be ours.
  snapshot_owner TEXT,
  snapshot_at_ms INTEGER,
  CHECK ((snapshot_owner IS NULL) = (snapshot_at_ms IS NULL))
) STRICT;
INSERT INTO health VALUES (1, 0, NULL, NULL);

-- At most one row: metadata that is to take the place of the present one.
CREATE TABLE metadata_swap (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  kind TEXT NOT NULL CHECK (kind IN ('repair', 'restore')),
  spare_path TEXT NOT NULL,
  kept_path TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;

-- What opening decided, and why. AUTOINCREMENT: a number is not used again when the oldest have gone.
CREATE TABLE journal (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT;
${SPACE_SCHEMA}${EVENT_SCHEMA}`;

// Some files of version 1 have it already.
const VERSION_2 = `
-- Ids that intents named which were taken back: a thin device under one of them that was made while the
-- pool was one below this transaction is what such an intent left, and goes (INV-4).
CREATE TABLE IF NOT EXISTS taken_back_thin_id (
  thin_id INTEGER PRIMARY KEY CHECK (thin_id BETWEEN 0 AND 16777215),
  transaction_id INTEGER NOT NULL CHECK (transaction_id > 0)
) STRICT;
`;

/**
 * A commit writes each page that it changes, so a new device is to change few: its row goes to the end of
 * one tree, thin ids counting up, and all that it is found by is made at opening (device-index.ts).
 */
const deviceOfVersion3 = (name: string): string => `
CREATE TABLE "${name}" (
  thin_id INTEGER PRIMARY KEY CHECK (thin_id BETWEEN 0 AND 16777215),
  uuid TEXT NOT NULL,
  name TEXT NOT NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  filesystem TEXT NOT NULL CHECK (filesystem IN ('ext4', 'xfs', 'none')),
  -- No foreign key: a snapshot outlives its origin.
  origin_uuid TEXT,
  owner_uid INTEGER NOT NULL CHECK (owner_uid BETWEEN 0 AND 4294967294),
  created_at_ms INTEGER NOT NULL,
  read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
  labels TEXT NOT NULL CHECK (json_valid(labels)),
  -- A block device's path: reads of blocks that the device does not have go there.
  external_origin TEXT,
  -- The device has grown, its filesystem not yet.
  growing INTEGER NOT NULL DEFAULT 0 CHECK (growing IN (0, 1)),
  -- Made, but not yet what was asked for: it does not count, and opening removes it.
  filling INTEGER NOT NULL CHECK (filling IN (0, 1)),
  -- The row counts once the pool has reached this transaction. pool.last_transaction_id is not written
  -- with it: the last one is the highest that any row names, or that one.
  -- 0 for devices of an adopted pool that never counted its transactions.
  transaction_id INTEGER NOT NULL CHECK (transaction_id >= 0),
  -- The row counts no longer once the pool has reached this one.
  deleting_transaction_id INTEGER CHECK (deleting_transaction_id > transaction_id)
) STRICT;
`;
const EVENTS_OF_VERSION_3 = deviceEventSchema("NEW.created_at_ms");

const VERSION_3 = `${deviceOfVersion3("device_of_version_3")}
INSERT INTO device_of_version_3 (${DEVICE_COLUMNS}) SELECT ${DEVICE_COLUMNS} FROM device;
DROP TABLE device;
DROP TABLE promised;
ALTER TABLE device_of_version_3 RENAME TO device;
${EVENTS_OF_VERSION_3}`;

const VERSION_4 = `
-- Where this ledger belongs: a copy of it elsewhere speaks of the same files and devices (own-folder.ts).
ALTER TABLE pool ADD COLUMN folder TEXT;
`;

/** What an empty file gets. */
const CURRENT = `${LASTING}${VERSION_2}${deviceOfVersion3("device")}${EVENTS_OF_VERSION_3}${VERSION_4}`;

/** From each earlier version to the next; the first is from version 1. */
const STEPS: readonly string[] = [VERSION_2, VERSION_3, VERSION_4];
export const SCHEMA_VERSION: number = STEPS.length + 1;

function pragma(db: DatabaseSync, name: string): bigint {
  const row = db.prepare(`PRAGMA ${name}`).get();
  return BigInt(Object.values(row ?? {})[0] as number);
}

/**
 * Brings a new file, and one of an earlier version, to the current schema in one commit; refuses a file
 * that is not ours or is from the future (POOL_MISMATCH).
 */
export function migrate(db: DatabaseSync, path: string): void {
  const version = Number(pragma(db, "user_version"));
  const applicationId = pragma(db, "application_id");
  const isOurs = applicationId === BigInt(APPLICATION_ID);
  const isEmpty = version === 0 && applicationId === 0n;
  if (isEmpty || (isOurs && version >= 1 && version < SCHEMA_VERSION)) {
    db.exec(
      `BEGIN IMMEDIATE; ${isEmpty ? CURRENT : STEPS.slice(version - 1).join("")}
       PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT;`,
    );
    return;
  }
  if (!isOurs || version !== SCHEMA_VERSION) {
    throw new PoolError({
      code: "POOL_MISMATCH",
      operation: "opening the ledger",
      object: path,
      reason: isOurs
        ? `its schema is version ${version}, this program knows ${SCHEMA_VERSION}`
        : "it is an SQLite file of another program",
      hint: "Use the version of thinpool that wrote it, or name the right folder.",
    });
  }
}
