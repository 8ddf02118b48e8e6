import type { Engine } from "../engine.ts";
import { withUndo } from "../undo.ts";
import { activateRecord, deactivateRecord, deleteRecord } from "./steps.ts";

export interface RemoveResult {
  readonly outcome: "removed";
}

/** Deactivates and deletes. DEVICE_BUSY while open or mounted, and then nothing has changed. */
export function remove(engine: Engine, options: { readonly name: string }): Promise<RemoveResult> {
  return engine.changeDevice("removal", options.name, async (name) => {
    const record = engine.device("removal", name);
    await withUndo(async (undo) => {
      if (engine.states.isActive(record.uuid)) {
        // First of all: where it is in use nothing has been recorded or changed.
        await deactivateRecord(engine, record);
        undo.push("activating it again", () => activateRecord(engine, record));
      }
      await deleteRecord(engine, record);
    });
    return { outcome: "removed" };
  });
}
