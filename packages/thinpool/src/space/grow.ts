/**
 * Making a pool larger, one of its two spaces at a time. The steps and what a crash after each leaves
 * are the table of growth in docs/INVARIANTS.md (INV-16).
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { sickPoolError } from "../health/sick-pool.ts";
import { poolTable } from "../tables.ts";
import { isGrowing, type PoolSizes, targetOf } from "./sizes.ts";

export type GrowingSpace = "data" | "metadata";

/**
 * Grows to `toBytes`, or ends a growth that an earlier failure left in between; the caller sees by
 * the record's sizes which. One at a time: the caller's queue sees to that.
 */
export async function growSpace(
  engine: Engine,
  space: GrowingSpace,
  toBytes: bigint,
): Promise<void> {
  const record = engine.poolRecord;
  if (!isGrowing(record)) {
    const { dataBytes, metadataBytes } = record;
    engine.ledger.space.beginGrowth(
      space === "data"
        ? { dataBytes: toBytes, metadataBytes }
        : { dataBytes, metadataBytes: toBytes },
    );
    engine.reloadPoolRecord();
  }
  const target = targetOf(engine.poolRecord);
  if (record.backing === "files") await growFiles(engine, target);
  const errorIfNoSpace = engine.space.failsWhenFull;
  const table = poolTable({ ...record, ...target }, engine.backing, { errorIfNoSpace });
  await engine.alonePool(() => engine.pool.swapTable(table));
  await checkTotals(engine, target);
  engine.ledger.space.endGrowth();
  engine.reloadPoolRecord();
}

async function growFiles(engine: Engine, target: PoolSizes): Promise<void> {
  const { kernel, backing, poolRecord: record } = engine;
  const parts = [
    [backing.data, record.dataPath, record.dataBytes, target.dataBytes],
    [backing.metadata, record.metadataPath, record.metadataBytes, target.metadataBytes],
  ] as const;
  for (const [device, path, fromBytes, toBytes] of parts) {
    if (toBytes <= fromBytes) continue;
    await growFile(engine, path, toBytes);
    await kernel.loops.refreshCapacity(device.path);
  }
}

/**
 * A file's size is its inode's: its own fsync makes it last, the folder's is not needed. Where the
 * filesystem refuses the size, the file is as it was and the growth never happened.
 */
async function growFile(engine: Engine, path: string, toBytes: bigint): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat({ bigint: true });
    if (size > toBytes) throw changedBehind(path, size, toBytes);
    if (size < toBytes) {
      try {
        await file.truncate(Number(toBytes));
      } catch (error) {
        engine.ledger.space.cancelGrowth();
        engine.reloadPoolRecord();
        throw error;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A pool that needs a check takes the longer table and does not grow (dm-thin.c, maybe_resize). */
async function checkTotals(engine: Engine, target: PoolSizes): Promise<void> {
  const { use } = await engine.space.measure();
  const blockBytes = engine.blockBytes;
  const wanted = target.dataBytes - (target.dataBytes % blockBytes);
  if (use !== undefined && use.data.totalBytes >= wanted) return;
  throw sickPoolError("needs-check", "growth", engine.folder);
}

function changedBehind(path: string, size: bigint, toBytes: bigint): PoolError {
  return new PoolError({
    code: "POOL_MISMATCH",
    operation: "growth",
    object: path,
    reason: `it is ${size} bytes long, longer than the ${toBytes} that it shall have`,
    hint: "Somebody changed the file: close the pool and put its own size back.",
  });
}
