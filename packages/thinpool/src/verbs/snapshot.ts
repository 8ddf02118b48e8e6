import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { checkLabels } from "../labels.ts";
import { deviceName } from "../names.ts";
import { checkOwner } from "../options.ts";
import type { DeviceRecord, Labels } from "../store/records.ts";
import type { Creation } from "../thin-maker.ts";
import { withUndo } from "../undo.ts";
import { activateRecord, deleteRecord, makeDevices, newDevice } from "./steps.ts";

/** Of one transaction; what one call holds back on its active origins follows it. */
const MAX_SNAPSHOTS_AT_ONCE = 64;

export interface SnapshotOptions {
  readonly origin: string;
  /** Whose it must be: DEVICE_NOT_FOUND where another device has the origin's name by now. Default whichever. */
  readonly originUuid?: string | undefined;
  readonly name: string;
  /** Default the origin's. */
  readonly ownerUid?: number;
  /** Where the caller must be able to find again what it asked for; never used before. Default random. */
  readonly uuid?: string | undefined;
  /** Default none. */
  readonly labels?: Labels;
  readonly readOnly?: boolean;
  /** Activate in the same stride: the short way from a request to a usable device. */
  readonly activate?: boolean;
}

export interface SnapshotResult {
  readonly outcome: "created";
  readonly device: Device;
}

export interface SnapshotManyOptions {
  /** All of them are of one moment; at most 64. */
  readonly snapshots: readonly Omit<SnapshotOptions, "activate">[];
}

export interface SnapshotManyResult {
  readonly outcome: "created";
  /** In the order asked for. */
  readonly devices: readonly Device[];
  /** How long the active origins were held still, in milliseconds; 0 where none was active. */
  readonly pauseMs: number;
}

/** An active origin is suspended for the moment of its snapshot, so that it is consistent (INV-10). */
export function snapshot(engine: Engine, options: SnapshotOptions): Promise<SnapshotResult> {
  const { origin, name: object } = options;
  const request = { operation: "snapshot", object, reads: [origin], changes: [object] };
  return engine.changeDevices(request, async () => {
    const creation = creationOf(engine, options);
    const admission = engine.space.admit("snapshot", object, creation.device.sizeBytes);
    if (admission !== undefined) await admission;
    return withUndo(async (undo) => {
      const activate = options.activate === true;
      const next = (record: DeviceRecord) => engine.thins.activationSteps(record);
      const { records, followed } = await makeDevices(engine, [creation], activate ? { next } : {});
      const [record] = records as readonly [DeviceRecord];
      if (activate) {
        undo.push("removing it", () => deleteRecord(engine, record));
        await activateRecord(engine, record, followed);
      }
      return { outcome: "created", device: engine.view(record) };
    });
  });
}

/**
 * Snapshots of several devices as they were at one moment: all active origins are suspended before the
 * first is taken and resumed after the last, in one transaction: all of them, or none.
 */
export function snapshotMany(
  engine: Engine,
  options: SnapshotManyOptions,
): Promise<SnapshotManyResult> {
  const { snapshots } = options;
  const request = {
    operation: "snapshot",
    object: snapshots.map(({ name }) => name).join(", "),
    reads: snapshots.map(({ origin }) => origin),
    changes: snapshots.map(({ name }) => name),
  };
  return engine.changeDevices(request, async () => {
    checkCount(snapshots.length);
    const creations = snapshots.map((one) => creationOf(engine, one));
    const promised = creations.reduce((sum, { device }) => sum + device.sizeBytes, 0n);
    const admission = engine.space.admit("snapshot", request.object, promised);
    if (admission !== undefined) await admission;
    const { records, pauseMs } = await makeDevices(engine, creations);
    return { outcome: "created", devices: records.map((record) => engine.view(record)), pauseMs };
  });
}

function creationOf(engine: Engine, options: SnapshotOptions): Creation {
  const origin = engine.device("snapshot", deviceName(options.origin), options.originUuid);
  const ownerUid = options.ownerUid ?? origin.ownerUid;
  checkOwner(ownerUid);
  const { sizeBytes, filesystem, uuid: originUuid, externalOrigin, growing } = origin;
  const device = newDevice({
    ...(options.uuid === undefined ? {} : { uuid: options.uuid }),
    name: deviceName(options.name),
    sizeBytes,
    filesystem,
    ownerUid,
    originUuid,
    externalOrigin,
    growing,
    labels: checkLabels(options.labels ?? {}),
    readOnly: options.readOnly ?? false,
  });
  return { device, origin };
}

function checkCount(count: number): void {
  if (count > 0 && count <= MAX_SNAPSHOTS_AT_ONCE) return;
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "snapshot",
    object: `${count} devices`,
    reason: "it is no number of snapshots for one transaction",
    hint: `Ask for 1 to ${MAX_SNAPSHOTS_AT_ONCE}.`,
  });
}
