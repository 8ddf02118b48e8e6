/** What opening does with the sizes that it finds: the table of growth in docs/INVARIANTS.md. */
import type { Backing } from "../backing.ts";
import { syncFile } from "../folder.ts";
import type { Kernel } from "../kernel.ts";
import type { PoolTable } from "../pool-device.ts";
import type { Ledger, PoolRecord } from "../store/ledger.ts";
import { poolTable } from "../tables.ts";
import type { SpacePolicy } from "./policy.ts";
import { growthLeft, targetOf } from "./sizes.ts";

/** The record with the sizes to open with: those of a growth that reached them, else the old ones. */
export async function settleSizes(
  kernel: Kernel,
  ledger: Ledger,
  recorded: PoolRecord,
): Promise<{ readonly record: PoolRecord; readonly grows: boolean }> {
  const left = await growthLeft(kernel, recorded);
  if (left.kind === "forward") {
    // Who made them longer may have died before its fsync, and the kernel is about to rely on it.
    if (recorded.backing === "files") {
      await syncFile(recorded.dataPath);
      await syncFile(recorded.metadataPath);
    }
    return { record: { ...recorded, ...targetOf(recorded) }, grows: true };
  }
  if (left.kind === "cancel") ledger.space.cancelGrowth();
  return { record: recorded, grows: false };
}

/** Loops that a killed process left may have the size of before the growth. */
export async function refreshLoops(kernel: Kernel, backing: Backing): Promise<void> {
  for (const device of [backing.data, backing.metadata]) {
    if (device.isLoop) await kernel.loops.refreshCapacity(device.path);
  }
}

/**
 * The table to have, then those that a live pool of ours may have instead: of before a growth that
 * was interrupted, and with the other answer to writes that find no block.
 */
export function tablesOf(
  record: PoolRecord,
  recorded: PoolRecord,
  backing: Backing,
  policy: SpacePolicy,
): readonly [PoolTable, ...PoolTable[]] {
  const fails = policy.onNoSpace === "error_if_no_space";
  const tableOf = (sizes: PoolRecord, errorIfNoSpace: boolean): PoolTable =>
    poolTable(sizes, backing, { errorIfNoSpace });
  return [
    tableOf(record, fails),
    tableOf(record, !fails),
    tableOf(recorded, fails),
    tableOf(recorded, !fails),
  ];
}

/** Those with which it is brought up for a look: the kernel takes the first, or where it has grown the second. */
export function looksOf(
  record: PoolRecord,
  recorded: PoolRecord,
  backing: Backing,
): readonly PoolTable[] {
  return [recorded, record].map((sizes) => poolTable(sizes, backing, { readOnly: true }));
}

/** The kernel's pool has the sizes that it was opened with. */
export function endGrowth(ledger: Ledger, record: PoolRecord): void {
  ledger.events.note(
    {
      body: {
        type: "grown",
        dataBytes: record.dataBytes,
        metadataBytes: record.metadataBytes,
        by: "recovery",
      },
    },
    Date.now(),
  );
  ledger.space.endGrowth();
}
