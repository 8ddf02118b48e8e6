/**
 * Puts new metadata in the place of the old. It stands ready in full, synced, and the ledger says so
 * before the first step here; each step can be done again, so a crash between any two is settled by the
 * next call: by opening the pool, or by repairing it again (INV-21). The old metadata is kept.
 */
import { link, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { exists, syncFolder } from "../folder.ts";
import type { Ledger, PoolRecord } from "../store/ledger.ts";

/** Nothing to do where the ledger names no swap; the record may be another afterwards. */
export async function finishSwap(ledger: Ledger): Promise<PoolRecord> {
  const record = ledger.pool();
  if (record === undefined) throw new TypeError("a ledger without a pool has no metadata to swap");
  const { swap } = ledger.health;
  if (swap === undefined) return record;
  if (record.backing === "block") {
    // One commit: the pool stands on the other device from now on, the old one is left as it is.
    ledger.health.endSwap(swap.sparePath);
  } else {
    // Once the spare has taken the place, only the record of it is left to do.
    if (await exists(swap.sparePath)) {
      if (!(await exists(swap.keptPath))) await link(record.metadataPath, swap.keptPath);
      // Of an adopted pool it is not the ledger's.
      const folder = dirname(record.metadataPath);
      await syncFolder(folder);
      await rename(swap.sparePath, record.metadataPath);
      await syncFolder(folder);
    }
    ledger.health.endSwap();
  }
  return ledger.pool() ?? record;
}

/** A free name for what is kept that says when: `metadata.damaged-20261125T070656Z`, then `…Z-2`. */
export async function keptName(
  path: string,
  what: "damaged" | "replaced",
  nowMs: number,
): Promise<string> {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const base = `${path}.${what}-${time}`;
  let name = base;
  for (let number = 2; await exists(name); number += 1) name = `${base}-${number}`;
  return name;
}
