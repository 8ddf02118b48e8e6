import type { Device } from "../device.ts";
import { deviceDmName } from "../dm-names.ts";
import type { Engine } from "../engine.ts";
import { deviceName } from "../names.ts";
import { withUndo } from "../undo.ts";

export interface RenameResult {
  readonly outcome: "renamed" | "already-so";
  readonly device: Device;
}

/**
 * Active or not, mounted or not: the node in /dev/mapper changes, uuid and mounts stay. The record
 * first; where a crash comes before the dm device has its new name, opening gives it to it.
 * DEVICE_EXISTS where the new name is taken.
 */
export function rename(
  engine: Engine,
  options: { readonly name: string; readonly to: string },
): Promise<RenameResult> {
  const { name: object, to } = options;
  const request = { operation: "renaming", object, changes: [object, to] };
  return engine.changeDevices(request, async () => {
    const { ledger, renames, states, thins, transactionId } = engine;
    const record = engine.device("renaming", deviceName(object));
    const name = deviceName(to);
    if (name === record.name) return { outcome: "already-so", device: engine.view(record) };
    return withUndo(async (undo) => {
      const renamed = ledger.updateDevice(record, { name }, transactionId);
      renames.note(record.uuid);
      undo.push("taking the name back", async () => {
        ledger.updateDevice(renamed, { name: record.name }, transactionId);
        renames.note(record.uuid);
        // What failed may have come after the kernel's renaming.
        const live = states.isActive(record.uuid) ? await thins.find(record.uuid) : undefined;
        const before = deviceDmName(engine.uuid, record.name);
        if (live !== undefined && live.name !== before) await thins.rename(record);
      });
      if (states.isActive(record.uuid) && (await thins.rename(renamed)) === "gone") {
        // Somebody removed its dm device: it is inactive, whatever we thought.
        states.set(record.uuid, "inactive");
      }
      return { outcome: "renamed", device: engine.view(renamed) };
    });
  });
}
