import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { deviceName } from "../names.ts";
import { checkOwner } from "../options.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import { transition } from "../transition.ts";
import { makeDevice, newDevice } from "./make-device.ts";

export interface SnapshotOptions {
  readonly origin: string;
  readonly name: string;
  readonly ownerUid?: number;
  /** Activate in the same stride: the short way from a request to a usable device. */
  readonly activate?: boolean;
}

export interface SnapshotResult {
  readonly outcome: "created";
  readonly device: Device;
}

export function snapshot(engine: Engine, options: SnapshotOptions): Promise<SnapshotResult> {
  return engine.changeDevice("snapshot", options.name, async (name) => {
    const { pool, thins } = engine;
    const origin = engine.device("snapshot", deviceName(options.origin));
    const ownerUid = options.ownerUid ?? origin.ownerUid;
    checkOwner(ownerUid);
    const { sizeBytes, filesystem, uuid: originUuid } = origin;
    const record = await makeDevice(engine, {
      device: newDevice({ name, sizeBytes, filesystem, ownerUid, originUuid }),
      verb: options.activate === true ? "createActive" : "create",
      make: (id) => whileSuspended(engine, origin, () => pool.createSnapshot(id, origin.thinId)),
      // Before the transaction counts: should it fail, all is undone without a second commit.
      fill: options.activate === true ? (made) => thins.activate(made) : undefined,
    });
    return { outcome: "created", device: engine.view(record) };
  });
}

/** Runs `body` while an active origin is suspended, so that the snapshot is consistent. */
async function whileSuspended(
  engine: Engine,
  origin: DeviceRecord,
  body: () => Promise<void>,
): Promise<void> {
  const { states, thins } = engine;
  if (!states.isActive(origin.uuid)) return body();
  const outcome = await transition(states, origin, "suspend", () => thins.suspend(origin.uuid));
  if (outcome === "gone") {
    // Somebody removed its dm device: it is inactive, whatever we thought.
    states.set(origin.uuid, "inactive");
    return body();
  }
  try {
    await body();
  } finally {
    // Whatever happened: a suspended origin hangs everybody who uses it. A failure of this is an
    // UndoError and outranks body's.
    await transition(states, origin, "resume", () => thins.resume(origin.uuid));
  }
  return undefined;
}
