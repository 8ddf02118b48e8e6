import { randomUUID } from "node:crypto";
import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { type DeviceName, deviceName } from "../names.ts";
import { giveBack, givesBack } from "../space/empty-device.ts";
import type { DeviceRecord } from "../store/records.ts";
import { isDoubt, withUndo } from "../undo.ts";
import { activateRecord, deactivateRecord, deleteRecord, makeDevices, newDevice } from "./steps.ts";

export interface RevertOptions {
  readonly name: string;
  /** A snapshot of it, which stays. */
  readonly snapshot: string;
  /** Whose it must be: DEVICE_NOT_FOUND where another device has the snapshot's name by now. Default whichever. */
  readonly snapshotUuid?: string | undefined;
}

export interface RevertResult {
  readonly outcome: "reverted";
  /** "later": deleting what it held before failed; the next opening of the pool does it. */
  readonly oldContent: "removed" | "later";
  /** "failed": it is reverted, and no longer active: `activate` it. */
  readonly activation: "as-before" | "failed";
  readonly device: Device;
}

/**
 * The device gets the content, size and filesystem of its snapshot, and keeps its name, uuid, owner
 * and labels. DEVICE_BUSY while it is open or mounted; an active one is active again afterwards.
 *
 * A new snapshot of the snapshot is made as a device that does not count (INV-12); one commit of the
 * ledger then gives each of the two the other's thin id, and what then does not count is the old content.
 */
export function revert(engine: Engine, options: RevertOptions): Promise<RevertResult> {
  const { name: object, snapshot } = options;
  const request = { operation: "revert", object, reads: [snapshot], changes: [object] };
  return engine.changeDevices(request, async () => {
    const device = engine.device("revert", deviceName(object));
    const source = engine.device("revert", deviceName(snapshot), options.snapshotUuid);
    if (source.originUuid !== device.uuid) throw notItsSnapshot(device, source);
    const wasActive = engine.states.isActive(device.uuid);
    const { reverted, old } = await withUndo(async (undo) => {
      if (wasActive) {
        await deactivateRecord(engine, device);
        undo.push("activating it again", () => activateRecord(engine, device));
      }
      const { sizeBytes, filesystem, externalOrigin, growing, ownerUid } = source;
      const fresh = newDevice({
        // No name that a user can give.
        name: `.revert-${randomUUID()}` as DeviceName,
        sizeBytes,
        filesystem,
        externalOrigin,
        growing,
        ownerUid,
        filling: true,
      });
      const creation = { device: fresh, origin: source };
      const { records } = await makeDevices(engine, [creation], { replaces: device });
      const [made] = records as readonly [DeviceRecord];
      undo.push("removing the new content", () => deleteRecord(engine, made));
      return {
        reverted: engine.ledger.swapContent(device, made),
        old: { ...made, thinId: device.thinId, sizeBytes: device.sizeBytes },
      };
    });
    const oldContent = await removeOld(engine, old);
    const activation = wasActive ? await activateAgain(engine, reverted) : "as-before";
    return { outcome: "reverted", oldContent, activation, device: engine.view(reverted) };
  });
}

/** The device is reverted by now: a failure of this is no failure of it. */
async function activateAgain(
  engine: Engine,
  device: DeviceRecord,
): Promise<RevertResult["activation"]> {
  try {
    await activateRecord(engine, device);
    return "as-before";
  } catch (error) {
    if (isDoubt(error)) throw error;
    return "failed";
  }
}

/** The device is reverted by now: a failure of this leaves what opening removes, and is no failure of it. */
async function removeOld(engine: Engine, old: DeviceRecord): Promise<"removed" | "later"> {
  try {
    if (givesBack(engine)) await giveBack(engine, old);
    await deleteRecord(engine, old);
    return "removed";
  } catch (error) {
    if (isDoubt(error)) throw error;
    return "later";
  }
}

function notItsSnapshot(device: DeviceRecord, source: DeviceRecord): PoolError {
  return new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "revert",
    object: device.name,
    reason: `${source.name} is no snapshot of it`,
    hint: "Name a snapshot that was made from this device.",
  });
}
