import type { DmRun } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import { withUndo } from "../undo.ts";

/**
 * Discards all of an inactive thin device, which is active for it. The kernel's delete frees a thin
 * device's blocks in the pool, but passes nothing down: only a discard makes holes in the host's file.
 * `begun`: its activation, which runs already.
 */
export async function emptyDevice(
  engine: Engine,
  record: DeviceRecord,
  begun?: Promise<DmRun>,
): Promise<void> {
  const { kernel, thins } = engine;
  await withUndo(async (undo) => {
    await engine.withPool(() => thins.activate(record, { writable: true, begun }));
    undo.push("deactivating it", () => engine.withPool(() => thins.deactivate(record.uuid)));
    await kernel.blocks.discard(engine.path(record), {
      offsetBytes: 0n,
      lengthBytes: record.sizeBytes,
    });
    await engine.withPool(() => thins.deactivate(record.uuid));
  });
}

/** Whether the pool gives the blocks of removed devices back to the host. */
export function givesBack(engine: Engine): boolean {
  return engine.policy.giveBackRemoved && engine.poolRecord.discard === "passdown";
}

/** Empties a device that no longer counts. A failure is told by an event and is none of the caller's. */
export async function giveBack(
  engine: Engine,
  record: DeviceRecord,
  begun?: Promise<DmRun>,
): Promise<void> {
  try {
    await emptyDevice(engine, record, begun);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    engine.events.note({ body: { type: "not-given-back", name: record.name, reason } });
  }
}
