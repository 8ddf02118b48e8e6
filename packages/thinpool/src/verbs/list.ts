import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { deviceName } from "../names.ts";
import type { DeviceRecord, Labels } from "../store/records.ts";

/** How many ancestors, and how many descendants, are looked up. */
export const MAX_LINEAGE = 1000;

export interface ListFilter {
  /** That device alone; its cost does not follow the number of all. */
  readonly uuid?: string;
  readonly ownerUid?: number;
  /** All of these, with these values. */
  readonly labels?: Labels;
}

export interface Lineage {
  /** Whom it was made from, and so on; the first is its origin. Ends where one was removed. */
  readonly ancestors: readonly Device[];
  /** The uuid of the removed device that the line ends at; undefined where it ends at one made empty. */
  readonly removedAncestorUuid: string | undefined;
  /** The devices that were made from it, by name. */
  readonly snapshots: readonly Device[];
}

/** By name. */
export function list(engine: Engine, filter: ListFilter = {}): readonly Device[] {
  engine.assertNotClosed("list", engine.folder);
  const labels = Object.entries(filter.labels ?? {});
  return candidates(engine, filter)
    .filter(
      (record) =>
        (filter.ownerUid === undefined || record.ownerUid === filter.ownerUid) &&
        labels.every(([key, value]) => record.labels[key] === value),
    )
    .map((record) => engine.view(record));
}

/** By the filter that has an index. */
function candidates(
  { ledger, transactionId }: Engine,
  { uuid, ownerUid }: ListFilter,
): readonly DeviceRecord[] {
  if (uuid !== undefined) {
    const record = ledger.byUuid(uuid, transactionId);
    return record === undefined ? [] : [record];
  }
  return ownerUid === undefined
    ? ledger.devices(transactionId)
    : ledger.devicesOf(ownerUid, transactionId);
}

export function lineage(engine: Engine, options: { readonly name: string }): Lineage {
  engine.assertNotClosed("lineage", options.name);
  const { ledger, transactionId } = engine;
  const record = engine.device("lineage", deviceName(options.name));
  const ancestors: Device[] = [];
  let uuid = record.originUuid;
  while (uuid !== undefined && ancestors.length < MAX_LINEAGE) {
    const ancestor = ledger.byUuid(uuid, transactionId);
    if (ancestor === undefined) break;
    ancestors.push(engine.view(ancestor));
    uuid = ancestor.originUuid;
  }
  return {
    ancestors,
    removedAncestorUuid: ancestors.length < MAX_LINEAGE ? uuid : undefined,
    snapshots: ledger
      .madeFrom(record.uuid, transactionId, MAX_LINEAGE)
      .map((made) => engine.view(made)),
  };
}
