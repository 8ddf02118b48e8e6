/** The transaction that makes a device (INV-1 to INV-3), shared by the verbs that do. */
import { randomUUID } from "node:crypto";
import { type ThinId, transactionId } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { isNative } from "../errors-from-native.ts";
import type { DeviceRecord, NewDevice } from "../store/ledger.ts";
import { transition } from "../transition.ts";
import { withUndo } from "../undo.ts";

/** How many ids that somebody else took in our pool one creation passes over. */
export const MAX_FOREIGN_IDS_PER_CREATION = 16;

export function newDevice(device: Omit<NewDevice, "uuid" | "createdAtMs">): NewDevice {
  return { ...device, uuid: randomUUID(), createdAtMs: Date.now() };
}

/**
 * One transaction that makes a device: the intent's commit, `make`'s message, `fill`, and
 * set_transaction_id, from which on the record counts. Any failure undoes what was done.
 */
export function makeDevice(
  engine: Engine,
  options: {
    readonly device: NewDevice;
    readonly verb: "create" | "createActive";
    readonly make: (id: ThinId) => Promise<void>;
    readonly fill: ((record: DeviceRecord) => Promise<void>) | undefined;
  },
): Promise<DeviceRecord> {
  const { ledger, pool, thins, states } = engine;
  const { device, verb, make, fill } = options;
  const current = engine.transactionId;
  const next = transactionId(current + 1n);
  states.set(device.uuid, "absent");
  return transition(states, device, verb, () =>
    withUndo(async (undo) => {
      const intent = ledger.beginCreate(device, next);
      undo.push("dropping the record", () => ledger.undoCreate(intent));
      const record = await makeThin(engine, intent, make);
      undo.push("deleting the thin device", () => pool.deleteThin(record.thinId));
      if (fill !== undefined) {
        await fill(record);
        undo.push("deactivating it", () => thins.deactivate(record.uuid));
      }
      await pool.setTransactionId(current, next);
      engine.transactionId = next;
      return record;
    }),
  );
}

/** EEXIST: the id is taken by a thin device that no record of ours explains; the next free one. */
async function makeThin(
  engine: Engine,
  intent: DeviceRecord,
  make: (id: ThinId) => Promise<void>,
): Promise<DeviceRecord> {
  let record = intent;
  for (let passed = 0; ; passed += 1) {
    try {
      await make(record.thinId);
      return record;
    } catch (error) {
      if (!isNative(error, "NATIVE_EXISTS") || passed >= MAX_FOREIGN_IDS_PER_CREATION) throw error;
      record = engine.ledger.passOverThinId(record, Date.now());
    }
  }
}
