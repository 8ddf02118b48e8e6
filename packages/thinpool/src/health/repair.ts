/** Repair of a pool that is closed: onto a spare, the damaged original kept. */
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { Kernel } from "../kernel.ts";
import type { PoolRecord } from "../store/ledger.ts";
import type { MetadataListing, MetadataSuperblock } from "../tools/metadata-tools.ts";
import { assertNotLive, type ClosedPool, withClosedPool, withDevice } from "./closed-pool.ts";
import { buildOnSpare, prepareSpare } from "./spare.ts";
import { finishSwap, keptName } from "./swap.ts";
import { toolCall } from "./tool-calls.ts";

export interface RepairPoolOptions {
  readonly folder: string;
  readonly kernel: Kernel;
  /** For a pool on block devices: the device that takes the metadata's place if it is damaged. */
  readonly spareDevice?: string;
  readonly signal?: AbortSignal;
}

export type RepairResult =
  /** thin_check passes: nothing was rewritten; a needs_check flag is cleared. */
  | { readonly outcome: "already-sound" }
  | {
      readonly outcome: "repaired";
      /** The damaged metadata, as it was. */
      readonly keptPath: string;
      /** Devices of the ledger that the repaired metadata does not have: their data is lost. */
      readonly lost: readonly string[];
      /** What thin_check said of the damaged metadata. */
      readonly report: string;
    };

/**
 * Checks the metadata; clears needs_check where it is sound; else rebuilds it on a spare, checks that,
 * and puts it in place. A crash at any point leaves the damaged metadata or the repaired one in place,
 * never neither; calling it again goes on (INV-13).
 *
 * POOL_LOCKED, DEVICE_BUSY while it is live, POOL_NEEDS_REPAIR where nothing can be saved (the pool is
 * as it was), POOL_TOOL_MISSING. Check every filesystem in the pool afterwards.
 */
export function repairPool(options: RepairPoolOptions): Promise<RepairResult> {
  const { kernel, signal } = options;
  return withClosedPool({ ...options, operation: "repair" }, async (pool) => {
    await assertNotLive(pool, "repair");
    const record = await finishSwap(pool.ledger, pool.paths);
    const isFile = record.backing === "files";
    const aborting = signal === undefined ? {} : { signal };
    return withDevice(kernel, record.metadataPath, { isFile, readOnly: false }, async (path) => {
      const check = await toolCall(() => kernel.metadataTools.check({ path, ...aborting }));
      if (check.outcome === "clean") {
        const clearNeedsCheck = true;
        await toolCall(() => kernel.metadataTools.check({ path, clearNeedsCheck, ...aborting }));
        return { outcome: "already-sound" as const };
      }
      const spare = await prepareSpare(kernel, record, options.spareDevice);
      const listing = await buildOnSpare(kernel, spare, async (to) => {
        const known = knownSuperblock(record);
        await toolCall(() => kernel.metadataTools.repair({ from: path, to, known, ...aborting }));
        return toolCall(() => kernel.metadataTools.read({ path: to, ...aborting }));
      });
      return { outcome: "repaired" as const, spare, listing, report: check.report };
    }).then((found) =>
      found.outcome === "already-sound" ? found : putInPlace(pool, record, found),
    );
  });
}

/** After the loops are detached: they stand on the files' inodes. */
async function putInPlace(
  pool: ClosedPool,
  record: PoolRecord,
  built: {
    readonly spare: { readonly path: string };
    readonly listing: MetadataListing;
    readonly report: string;
  },
): Promise<RepairResult> {
  const atMs = Date.now();
  const keptPath =
    record.backing === "files"
      ? keptName(record.metadataPath, "damaged", atMs)
      : record.metadataPath;
  const lost = lostDevices(pool, built.listing);
  pool.ledger.health.beginSwap({ kind: "repair", sparePath: built.spare.path, keptPath, atMs });
  await finishSwap(pool.ledger, pool.paths);
  return { outcome: "repaired", keptPath, lost, report: built.report };
}

function lostDevices({ ledger }: ClosedPool, listing: MetadataListing): readonly string[] {
  const present = new Set(listing.devices.map(({ thinId }) => thinId));
  const records = ledger.devices(listing.superblock.transactionId);
  return records.filter(({ thinId }) => !present.has(thinId)).map(({ name }) => name);
}

/** For a superblock that is lost: the ledger knows what it said. */
function knownSuperblock(record: PoolRecord): MetadataSuperblock {
  return {
    transactionId: record.lastTransactionId,
    blockSectors: record.blockSectors,
    dataBlocks: record.dataBytes / (record.blockSectors * SECTOR_SIZE_BYTES),
  };
}
