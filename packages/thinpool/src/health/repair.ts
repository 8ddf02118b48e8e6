/** Repair of a pool that is closed: onto a spare, the damaged original kept. */
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { PoolRecord } from "../store/ledger.ts";
import type { MetadataListing, MetadataSuperblock } from "../tools/metadata-tools.ts";
import { settleSizes } from "../space/settle.ts";
import { assertNotLive, type ClosedPool, withClosedPool, withDevice } from "./closed-pool.ts";
import { buildOnSpare, prepareSpare } from "./spare.ts";
import { finishSwap, keptName } from "./swap.ts";
import { toolCall } from "./tool-calls.ts";

/** How many lost devices an error names. */
const MAX_NAMED = 10;

export interface RepairPoolOptions {
  readonly folder: string;
  readonly kernel: Kernel;
  /** For a pool on block devices: the device that takes the metadata's place if it is damaged. */
  readonly spareDevice?: string;
  /** Puts the repaired metadata in place also where devices of the ledger are not in it any more. */
  readonly acceptLoss?: boolean;
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
 * never neither; calling it again goes on (INV-21).
 *
 * POOL_LOCKED, DEVICE_BUSY while it is live, POOL_TOOL_MISSING; POOL_NEEDS_REPAIR, and the pool is as it
 * was, where nothing can be saved or a device would be lost without `acceptLoss`. Check every filesystem in the pool afterwards.
 */
export function repairPool(options: RepairPoolOptions): Promise<RepairResult> {
  const { kernel, signal } = options;
  return withClosedPool({ ...options, operation: "repair" }, async (pool) => {
    await assertNotLive(pool, "repair");
    const recorded = await finishSwap(pool.ledger);
    const { record } = await settleSizes(kernel, pool.ledger, recorded);
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
      const lost = await buildOnSpare(kernel, spare, async (to) => {
        const known = knownSuperblock(record);
        await toolCall(() => kernel.metadataTools.repair({ from: path, to, known, ...aborting }));
        const listing = await toolCall(() => kernel.metadataTools.read({ path: to, ...aborting }));
        const missing = lostDevices(pool, listing);
        if (missing.length > 0 && options.acceptLoss !== true) throw wouldLose(record, missing);
        return missing;
      });
      return { outcome: "repaired" as const, spare, lost, report: check.report };
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
    readonly lost: readonly string[];
    readonly report: string;
  },
): Promise<RepairResult> {
  const atMs = Date.now();
  const keptPath =
    record.backing === "files"
      ? await keptName(record.metadataPath, "damaged", atMs)
      : record.metadataPath;
  pool.ledger.health.beginSwap({ kind: "repair", sparePath: built.spare.path, keptPath, atMs });
  await finishSwap(pool.ledger);
  return { outcome: "repaired", keptPath, lost: built.lost, report: built.report };
}

/** thin_repair makes an empty pool of metadata that holds nothing, and calls that success. */
function wouldLose(record: PoolRecord, lost: readonly string[]): PoolError {
  const named = lost.slice(0, MAX_NAMED).join(", ");
  const more = lost.length > MAX_NAMED ? ` and ${lost.length - MAX_NAMED} more` : "";
  return new PoolError({
    code: "POOL_NEEDS_REPAIR",
    operation: "repair",
    object: record.metadataPath,
    reason: `of ${lost.length} devices nothing could be saved: ${named}${more}`,
    hint: "Nothing was changed. Restore a backup of the metadata, or repair and accept the loss.",
  });
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
