/** What differs between two devices of a pool: the base of incremental backup. */
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import type { BlockDifference } from "../tools/metadata-tools.ts";
import { RangeSpool } from "./range-spool.ts";
import { toolStream } from "./tool-calls.ts";

export interface ChangedRange {
  readonly offsetBytes: bigint;
  readonly lengthBytes: bigint;
  /**
   * "changed": both have data there; "added": only the newer has; "removed": only the older had, the
   * newer reads as zeroes. What is in none of the ranges is the same in both.
   */
  readonly kind: "changed" | "added" | "removed";
}

export interface ChangedBlocksOptions {
  /** The older device's name. */
  readonly from: string;
  /** The newer one's. */
  readonly to: string;
  readonly signal?: AbortSignal;
}

/**
 * The ranges in which `to` differs from `from`, ascending, in whole blocks of the pool (cut at the
 * larger device's end). As of one moment, and by mappings: a block that was written anew with the same
 * bytes counts as changed. Take snapshots, and compare those: a device in use changes meanwhile.
 *
 * DEVICE_NOT_FOUND, POOL_TOOL_MISSING, POOL_SNAPSHOT_BUSY, at the first step of the iteration.
 */
export async function* changedBlocks(
  engine: Engine,
  options: ChangedBlocksOptions,
): AsyncGenerator<ChangedRange> {
  const operation = "changed blocks";
  const { signal } = options;
  try {
    engine.assertNotClosed(operation, engine.folder);
    await using spool = await RangeSpool.create(engine.folder);
    const endBytes = await engine.metadataSnapshot.use(
      { owner: operation, signal },
      () => ({
        from: engine.device(operation, options.from),
        to: engine.device(operation, options.to),
      }),
      async ({ from, to }, held) => {
        for await (const range of differences(engine, from, to, held)) await spool.add(range);
        return from.sizeBytes > to.sizeBytes ? from.sizeBytes : to.sizeBytes;
      },
    );
    const blockBytes = engine.poolRecord.blockSectors * SECTOR_SIZE_BYTES;
    for await (const range of spool.read()) {
      signal?.throwIfAborted();
      const offsetBytes = range.beginBlock * blockBytes;
      const lengthBytes = range.lengthBlocks * blockBytes;
      const rest = endBytes - offsetBytes;
      yield { offsetBytes, lengthBytes: lengthBytes < rest ? lengthBytes : rest, kind: range.kind };
    }
  } catch (error) {
    if (signal?.aborted === true && error === signal.reason) throw error;
    throw poolErrorFrom(error, { operation, object: `${options.from} to ${options.to}` });
  }
}

function differences(
  engine: Engine,
  from: DeviceRecord,
  to: DeviceRecord,
  signal: AbortSignal,
): AsyncIterable<BlockDifference> {
  const { path } = engine.backing.metadata;
  return toolStream(
    engine.kernel.metadataTools.delta({
      path,
      snapshot: true,
      from: from.thinId,
      to: to.thinId,
      signal,
    }),
  );
}
