import type { Engine } from "../engine.ts";
import { giveBack, givesBack } from "../space/empty-device.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import { isDoubt, withUndo } from "../undo.ts";
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
      // Where the kernel's pool takes no changes a removal is refused, and nothing has changed.
      if (givesBack(engine) && (await engine.space.takesChanges())) {
        await deleteEmptied(engine, record);
      } else {
        await deleteRecord(engine, record);
      }
    });
    return { outcome: "removed" };
  });
}

/**
 * Its content goes first, outside of the transaction, so that nobody else waits for the discard. With
 * the first commit the device is removed: it counts no longer, its name is free, and opening does what
 * is left to do (INV-12). So what fails after it is no reason to keep the device: an event tells it.
 */
async function deleteEmptied(engine: Engine, record: DeviceRecord): Promise<void> {
  const { begun } = await engine.emptyings.add(record);
  await giveBack(engine, record, begun);
  try {
    await deleteRecord(engine, record);
  } catch (error) {
    if (isDoubt(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    engine.events.note({ body: { type: "removal-unfinished", name: record.name, reason } });
  }
}
