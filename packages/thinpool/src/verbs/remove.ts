import { transactionId } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
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

async function deleteDevice(engine: Engine, record: DeviceRecord): Promise<void> {
  const { ledger, pool, states } = engine;
  const current = engine.transactionId;
  const next = transactionId(current + 1n);
  await transition(states, record, "remove", () =>
    withUndo(async (undo) => {
      ledger.beginDelete(record, next);
      undo.push("taking the deletion back", () => ledger.undoDelete(record, next));
      await pool.deleteThin(record.thinId);
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
