/**
 * What devices are found by, in memory: made from the rows at opening, and kept by triggers in the
 * transactions that change them, roll-backs included. In the file each index would be a page more in
 * every commit, and the file has one user (INV-9), so nobody else looks anything up in it.
 */
import type { DatabaseSync } from "node:sqlite";

const KEYS =
  "uuid, name, owner_uid, origin_uuid, size_bytes, transaction_id, deleting_transaction_id, filling";
const totals = (devices: string, bytes: string): string => `
  UPDATE device_total SET devices = devices ${devices}, promised_bytes = promised_bytes ${bytes};`;
/** No transaction is below one that a row was ever seen to name. */
const COUNT_ON = `
  UPDATE device_total SET last_transaction = max(last_transaction, NEW.transaction_id,
    coalesce(NEW.deleting_transaction_id, 0));`;

const INDEX = `
CREATE TEMP TABLE device_index (
  thin_id INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  owner_uid INTEGER NOT NULL,
  origin_uuid TEXT,
  size_bytes INTEGER NOT NULL,
  transaction_id INTEGER NOT NULL,
  deleting_transaction_id INTEGER,
  filling INTEGER NOT NULL
) STRICT;
INSERT INTO device_index (thin_id, ${KEYS}) SELECT thin_id, ${KEYS} FROM device;
-- Holds all that a user's limits ask for, so that asking does not follow the number of all devices.
CREATE INDEX temp.device_by_owner ON device_index
  (owner_uid, transaction_id, deleting_transaction_id, filling, size_bytes);
CREATE INDEX temp.device_by_deleting ON device_index (deleting_transaction_id)
  WHERE deleting_transaction_id IS NOT NULL;
CREATE INDEX temp.device_by_transaction ON device_index (transaction_id);
CREATE INDEX temp.device_filling ON device_index (filling) WHERE filling = 1;
CREATE INDEX temp.device_by_origin ON device_index (origin_uuid) WHERE origin_uuid IS NOT NULL;

-- One row: what no operation shall have to add up or look for.
CREATE TEMP TABLE device_total (
  devices INTEGER NOT NULL,
  promised_bytes INTEGER NOT NULL,
  last_transaction INTEGER NOT NULL
) STRICT;
INSERT INTO device_total SELECT count(*), coalesce(sum(size_bytes), 0),
  max(coalesce(max(transaction_id), 0), coalesce(max(deleting_transaction_id), 0),
    coalesce((SELECT last_transaction_id FROM pool), 0)) FROM device;

CREATE TEMP TRIGGER index_created AFTER INSERT ON main.device BEGIN
  INSERT INTO device_index (thin_id, ${KEYS}) VALUES (NEW.thin_id,
    ${KEYS.replaceAll(/\w+/g, "NEW.$&")});${totals("+ 1", "+ NEW.size_bytes")}${COUNT_ON}
END;
CREATE TEMP TRIGGER index_deleted AFTER DELETE ON main.device BEGIN
  DELETE FROM device_index WHERE thin_id = OLD.thin_id;${totals("- 1", "- OLD.size_bytes")}
END;
CREATE TEMP TRIGGER index_changed AFTER UPDATE ON main.device BEGIN
  UPDATE device_index SET thin_id = NEW.thin_id,
    ${KEYS.replaceAll(/\w+/g, "$& = NEW.$&")}
    WHERE thin_id = OLD.thin_id;${totals("+ 0", "- OLD.size_bytes + NEW.size_bytes")}${COUNT_ON}
END;
`;

/** Once per connection, after the schema is the current one. */
export function indexDevices(db: DatabaseSync): void {
  db.exec(INDEX);
}
