import type { Kernel } from "../kernel.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import type { ThinDevices } from "../thin-devices.ts";
import { withUndo } from "../undo.ts";

/**
 * Discards all of an inactive thin device, which is active for it. The kernel's delete frees a thin
 * device's blocks in the pool, but passes nothing down: only a discard makes holes in the host's file.
 */
export async function emptyDevice(
  parts: { readonly kernel: Kernel; readonly thins: ThinDevices },
  record: DeviceRecord,
  path: string,
): Promise<void> {
  const { kernel, thins } = parts;
  await withUndo(async (undo) => {
    await thins.activate(record);
    undo.push("deactivating it", () => thins.deactivate(record.uuid));
    await kernel.blocks.discard(path, { offsetBytes: 0n, lengthBytes: record.sizeBytes });
    await thins.deactivate(record.uuid);
  });
}
