import { transactionId } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { emptyDevice } from "../space/empty-device.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import { transition } from "../transition.ts";
import { UndoError, withUndo } from "../undo.ts";

export interface RemoveResult {
  readonly outcome: "removed";
}

/** Deactivates and deletes. DEVICE_BUSY while open or mounted, and then nothing has changed. */
export function remove(engine: Engine, options: { readonly name: string }): Promise<RemoveResult> {
  return engine.changeDevice("removal", options.name, async (name) => {
    const { states, thins } = engine;
    const record = engine.device("removal", name);
    await withUndo(async (undo) => {
      if (states.isActive(record.uuid)) {
        // First of all: where it is in use nothing has been recorded or changed.
        await transition(states, record, "deactivate", () => thins.deactivate(record.uuid));
        undo.push("activating it again", () =>
          transition(states, record, "activate", () => thins.activate(record)),
        );
      }
      await deleteDevice(engine, record);
    });
    return { outcome: "removed" };
  });
}

/**
 * Discards what the device holds, after the deletion is recorded: from here on there is no way back.
 * False where nothing was touched. A failure is no reason to keep the device: its blocks are free in
 * the pool all the same, and an event says that the host does not have them back.
 */
async function giveBack(engine: Engine, record: DeviceRecord): Promise<boolean> {
  if (!engine.policy.giveBackRemoved || engine.poolRecord.discard !== "passdown") return false;
  try {
    await emptyDevice(engine, record, engine.path(record));
  } catch (error) {
    if (error instanceof UndoError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    engine.events.note({ body: { type: "not-given-back", name: record.name, reason } });
  }
  return true;
}

async function deleteDevice(engine: Engine, record: DeviceRecord): Promise<void> {
  const { ledger, pool, states } = engine;
  const current = engine.transactionId;
  const next = transactionId(current + 1n);
  await transition(states, record, "remove", () =>
    withUndo(async (undo) => {
      ledger.beginDelete(record, next);
      undo.push("taking the deletion back", () => ledger.undoDelete(record, next));
      const emptied = await giveBack(engine, record);
      try {
        await pool.deleteThin(record.thinId);
      } catch (error) {
        if (!emptied) throw error;
        throw new UndoError(error, [new Error("an emptied thin device can't be filled again")]);
      }
      try {
        await pool.setTransactionId(current, next);
      } catch (error) {
        // The thin device is gone: there is no way back, and opening goes forward.
        throw new UndoError(error, [new Error("a deleted thin device can't be brought back")]);
      }
      engine.transactionId = next;
    }),
  );
}
