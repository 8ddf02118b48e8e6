/** What the ledger of a pool says that no process has open, without touching the pool itself. */
import type { PoolEvent } from "../events/event.ts";
import type { Kernel } from "../kernel.ts";
import type { JournalEntry } from "../store/journal.ts";
import { withClosedPool } from "./closed-pool.ts";

/** More than are kept: one page has them all. */
const PAGE_EVENTS = 20_000;

export interface ClosedPoolRecords {
  readonly uuid: string;
  /** Without symlinks. */
  readonly folder: string;
  readonly backing: "files" | "block";
  readonly dataPath: string;
  readonly metadataPath: string;
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
  readonly createdAtMs: number;
  /** False where its creation or its destruction never ended. */
  readonly whole: boolean;
  readonly devices: readonly { readonly name: string; readonly sizeBytes: bigint }[];
  /** What opening the pool decided and why, the oldest first. */
  readonly journal: readonly JournalEntry[];
  /** The oldest first. */
  readonly events: readonly PoolEvent[];
  /** The oldest event that is still kept. */
  readonly firstEventNumber: number;
  readonly lastEventNumber: number;
}

/**
 * Devices and events are those of the ledger's last transaction: of one that a crash interrupted only
 * opening the pool finds out whether it counts. POOL_NOT_FOUND; POOL_LOCKED: ask its owner.
 */
export function readClosedPool(options: {
  readonly folder: string;
  readonly kernel: Kernel;
  /** Events with a higher number (default: all). */
  readonly eventsAfter?: number;
}): Promise<ClosedPoolRecords> {
  const reading = { ...options, operation: "reading", unfinished: true, copied: true };
  return withClosedPool(reading, ({ record, ledger, paths }) => {
    const { uuid, backing, dataPath, metadataPath, dataBytes, metadataBytes } = record;
    const last = record.lastTransactionId;
    const devices = ledger.devices(last).map(({ name, sizeBytes }) => ({ name, sizeBytes }));
    const { events, journal } = ledger;
    const lastEvent = events.last(last);
    return Promise.resolve({
      uuid,
      folder: paths.folder,
      backing,
      dataPath,
      metadataPath,
      dataBytes,
      metadataBytes,
      createdAtMs: record.createdAtMs,
      whole: record.state === "created",
      devices,
      journal: journal.entries(),
      events: events.page(options.eventsAfter ?? 0, lastEvent, PAGE_EVENTS),
      firstEventNumber: events.first(),
      lastEventNumber: lastEvent,
    });
  });
}
