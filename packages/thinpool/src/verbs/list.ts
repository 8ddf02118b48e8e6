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
  /** Made from that one. */
  readonly originUuid?: string;
  /** All of these, with these values. */
  readonly labels?: Labels;
}

export interface PageOptions extends ListFilter {
  /** The last page's `next`. */
  readonly after?: string | undefined;
  /** How many devices are looked at: the page's cost. */
  readonly limit: number;
}

/** A part of the list. */
export interface DevicePage {
  /** Those of the devices that were looked at that the filter fits; none is no sign of the end. */
  readonly devices: readonly Device[];
  /** The name behind which the next page begins; undefined behind the last. */
  readonly next: string | undefined;
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
  return viewed(engine, candidates(engine, filter), filter);
}

/**
 * By name as well. What is there from the first page to the last, under one name, is in exactly one of
 * them, whatever else comes and goes in between.
 */
export function listPage(engine: Engine, options: PageOptions): DevicePage {
  engine.assertNotClosed("list", engine.folder);
  const { ledger, transactionId } = engine;
  const { uuid, ownerUid, after = "", limit } = options;
  const isFew =
    uuid !== undefined ||
    (ownerUid !== undefined && !ledger.ownsMoreThan(ownerUid, limit, transactionId));
  if (isFew) {
    const behind = candidates(engine, options).filter(({ name }) => name > after);
    return { devices: viewed(engine, behind, options), next: undefined };
  }
  // The owner's index does not have the names: sorting all that a user has for each page would cost more.
  const records = ledger.devicesAfter(after, limit, transactionId);
  return {
    devices: viewed(engine, records, options),
    next: records.length < limit ? undefined : records.at(-1)?.name,
  };
}

function viewed(
  engine: Engine,
  records: readonly DeviceRecord[],
  { ownerUid, originUuid, labels = {} }: ListFilter,
): readonly Device[] {
  const pairs = Object.entries(labels);
  return records
    .filter(
      (record) =>
        (ownerUid === undefined || record.ownerUid === ownerUid) &&
        (originUuid === undefined || record.originUuid === originUuid) &&
        pairs.every(([key, value]) => record.labels[key] === value),
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
