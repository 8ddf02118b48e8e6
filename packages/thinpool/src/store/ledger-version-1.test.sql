-- A ledger as version 1 of the schema left it, with one device.
BEGIN TRANSACTION;
CREATE TABLE device (
  uuid TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  thin_id INTEGER NOT NULL UNIQUE CHECK (thin_id BETWEEN 0 AND 16777215),
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
  -- The row counts once the pool has reached this transaction.
  -- 0 for devices of an adopted pool that never counted its transactions.
  transaction_id INTEGER NOT NULL CHECK (transaction_id >= 0),
  -- The row counts no longer once the pool has reached this one.
  deleting_transaction_id INTEGER CHECK (deleting_transaction_id > transaction_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "device" VALUES('45c48cce-2e2d-4fbd-aa12-9c1d2b8c9d0f','base',0,8589934592,'ext4',NULL,1000,2,0,'{"role":"base"}',NULL,0,0,1,NULL);
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
INSERT INTO "event" VALUES(1,1795644808077,1,'device-created','45c48cce-2e2d-4fbd-aa12-9c1d2b8c9d0f','{"name":"base","deviceUuid":"45c48cce-2e2d-4fbd-aa12-9c1d2b8c9d0f","originUuid":null,"sizeBytes":"8589934592","ownerUid":1000}');
CREATE TABLE foreign_thin_id (
  thin_id INTEGER PRIMARY KEY CHECK (thin_id BETWEEN 0 AND 16777215),
  found_at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE health (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  -- 0 from before the pool goes live until it was taken down in order: a crash leaves 0.
  clean_stop INTEGER NOT NULL CHECK (clean_stop IN (0, 1)),
  -- Set before the metadata snapshot is reserved, so that one left by a crash is known to be ours.
  snapshot_owner TEXT,
  snapshot_at_ms INTEGER,
  CHECK ((snapshot_owner IS NULL) = (snapshot_at_ms IS NULL))
) STRICT;
INSERT INTO "health" VALUES(1,0,NULL,NULL);
CREATE TABLE journal (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE TABLE metadata_swap (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  kind TEXT NOT NULL CHECK (kind IN ('repair', 'restore')),
  spare_path TEXT NOT NULL,
  kept_path TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;
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
INSERT INTO "pool" VALUES(1,'8f14e45f-ceea-467a-9b36-3c1ee1d6f5a1','created','files','/pool/data','/pool/metadata',1099511627776,1073741824,1099511627776,1073741824,512,8192,'passdown',1,1);
CREATE TABLE promised (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO "promised" VALUES(1,8589934592);
CREATE TABLE space_policy (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  data_growth INTEGER NOT NULL CHECK (data_growth IN (0, 1)),
  data_step_bytes INTEGER NOT NULL CHECK (data_step_bytes > 0),
  data_ceiling_bytes INTEGER CHECK (data_ceiling_bytes > 0),
  metadata_growth INTEGER NOT NULL CHECK (metadata_growth IN (0, 1)),
  metadata_step_bytes INTEGER NOT NULL CHECK (metadata_step_bytes > 0),
  metadata_ceiling_bytes INTEGER CHECK (metadata_ceiling_bytes > 0),
  host_reserve_bytes INTEGER NOT NULL CHECK (host_reserve_bytes >= 0),
  data_floor_bytes INTEGER NOT NULL CHECK (data_floor_bytes >= 0),
  metadata_floor_bytes INTEGER NOT NULL CHECK (metadata_floor_bytes >= 0),
  -- NULL: devices may promise any sum.
  over_provisioning_ratio REAL CHECK (over_provisioning_ratio >= 1),
  -- 1 and no ratio asked for: what is promised is there.
  over_provisioning_forbidden INTEGER NOT NULL CHECK (over_provisioning_forbidden IN (0, 1)),
  on_no_space TEXT NOT NULL CHECK (
    on_no_space IN ('queue_if_no_space', 'error_if_no_space', 'error_when_exhausted')),
  give_back_removed INTEGER NOT NULL CHECK (give_back_removed IN (0, 1))
) STRICT;
INSERT INTO "space_policy" VALUES(1,1,137438953472,NULL,1,268435456,NULL,1073741824,10995116277,53687091,NULL,0,'queue_if_no_space',1);
CREATE INDEX device_by_owner
  ON device (owner_uid, transaction_id, deleting_transaction_id, filling, size_bytes);
CREATE INDEX device_by_deleting ON device (deleting_transaction_id)
  WHERE deleting_transaction_id IS NOT NULL;
CREATE INDEX device_filling ON device (uuid) WHERE filling = 1;
CREATE INDEX device_by_origin ON device (origin_uuid) WHERE origin_uuid IS NOT NULL;
CREATE TRIGGER promised_created AFTER INSERT ON device BEGIN
  UPDATE promised SET bytes = bytes + NEW.size_bytes;
END;
CREATE TRIGGER promised_deleted AFTER DELETE ON device BEGIN
  UPDATE promised SET bytes = bytes - OLD.size_bytes;
END;
CREATE TRIGGER promised_resized AFTER UPDATE OF size_bytes ON device BEGIN
  UPDATE promised SET bytes = bytes - OLD.size_bytes + NEW.size_bytes;
END;
CREATE TRIGGER event_bounded AFTER INSERT ON event WHEN NEW.number % 100 = 0 BEGIN
  DELETE FROM event WHERE number <= NEW.number - 10000;
END;
CREATE TRIGGER event_created AFTER INSERT ON device WHEN NEW.filling = 0 BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NEW.transaction_id, 'device-created', NEW.uuid, json_object(
    'name', NEW.name, 'deviceUuid', NEW.uuid, 'originUuid', NEW.origin_uuid,
    'sizeBytes', CAST(NEW.size_bytes AS TEXT), 'ownerUid', NEW.owner_uid));
END;
CREATE TRIGGER event_filled AFTER UPDATE OF filling ON device
WHEN OLD.filling = 1 AND NEW.filling = 0 BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NEW.transaction_id, 'device-created', NEW.uuid, json_object(
    'name', NEW.name, 'deviceUuid', NEW.uuid, 'originUuid', NEW.origin_uuid,
    'sizeBytes', CAST(NEW.size_bytes AS TEXT), 'ownerUid', NEW.owner_uid));
END;
CREATE TRIGGER event_emptied AFTER UPDATE OF filling ON device
WHEN OLD.filling = 0 AND NEW.filling = 1 BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NULL, 'device-removed', NEW.uuid,
    json_object('name', OLD.name, 'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid));
END;
CREATE TRIGGER event_creation_undone AFTER DELETE ON device
WHEN OLD.deleting_transaction_id IS NULL BEGIN
  UPDATE event SET type = 'undone', transaction_id = NULL, detail = json_object('was', type)
  WHERE number > (SELECT max(number) FROM event) - 4096
    AND device_uuid = OLD.uuid AND type = 'device-created' AND transaction_id = OLD.transaction_id;
END;
CREATE TRIGGER event_removed AFTER UPDATE OF deleting_transaction_id ON device
WHEN NEW.filling = 0 AND OLD.deleting_transaction_id IS NULL
  AND NEW.deleting_transaction_id IS NOT NULL
BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NEW.deleting_transaction_id, 'device-removed', NEW.uuid,
    json_object('name', OLD.name, 'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid));
END;
CREATE TRIGGER event_removal_undone AFTER UPDATE OF deleting_transaction_id ON device
WHEN OLD.deleting_transaction_id IS NOT NULL AND NEW.deleting_transaction_id IS NULL
BEGIN
  UPDATE event SET type = 'undone', transaction_id = NULL, detail = json_object('was', type)
  WHERE number > (SELECT max(number) FROM event) - 4096
    AND device_uuid = OLD.uuid AND type = 'device-removed' AND transaction_id = OLD.deleting_transaction_id;
END;
CREATE TRIGGER event_renamed AFTER UPDATE OF name ON device
WHEN OLD.name <> NEW.name AND NEW.filling = 0 BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NULL, 'device-renamed', NEW.uuid,
    json_object('name', NEW.name, 'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid,
      'from', OLD.name));
END;
CREATE TRIGGER event_resized AFTER UPDATE OF size_bytes ON device
WHEN OLD.size_bytes <> NEW.size_bytes BEGIN
  INSERT INTO event (at_ms, transaction_id, type, device_uuid, detail)
  VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NULL, 'device-resized', NEW.uuid, json_object('name', NEW.name,
    'deviceUuid', NEW.uuid, 'ownerUid', NEW.owner_uid,
    'sizeBytes', CAST(NEW.size_bytes AS TEXT), 'fromBytes', CAST(OLD.size_bytes AS TEXT)));
END;
DELETE FROM "sqlite_sequence";
COMMIT;
PRAGMA application_id = 1953001580;
PRAGMA user_version = 1;
