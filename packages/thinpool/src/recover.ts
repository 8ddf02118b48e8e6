/**
 * What opening does with what a crash left: the table in docs/INVARIANTS.md, as code. Every step can be
 * done again, so a crash during recovery is settled by the next one (INV-6).
 */
import { type TransactionId, transactionId } from "@thinpool/dm-native";
import type { DeviceStates } from "./device-state.ts";
import { PoolError } from "./errors.ts";
import type { PoolDevice } from "./pool-device.ts";
import type { DeviceRecord, Ledger, PoolRecord } from "./store/ledger.ts";
import type { ThinDevices } from "./thin-devices.ts";

export interface Recovered {
  /** The transaction that pool and ledger now agree on. */
  readonly transactionId: TransactionId;
}

export async function recover(parts: {
  readonly ledger: Ledger;
  readonly record: PoolRecord;
  readonly pool: PoolDevice;
  readonly thins: ThinDevices;
  readonly states: DeviceStates;
  /** The kernel's, from the pool's status. */
  readonly current: TransactionId;
}): Promise<Recovered> {
  const { ledger, record, pool, thins, states, current } = parts;
  checkTransaction(record, current);
  await adoptLive(ledger, thins, states, current);
  if (current === record.lastTransactionId) return { transactionId: current };

  const { creations, deletions } = ledger.unsettled(current);
  const [creation, deletion] = [creations[0], deletions[0]];
  if (creations.length + deletions.length !== 1) {
    throw mismatch(
      record,
      `transaction ${record.lastTransactionId} has ${creations.length} creations and ${deletions.length} deletions, not one of either`,
    );
  }
  if (creation !== undefined) {
    await undoCreation(ledger, pool, thins, creation);
    return { transactionId: current };
  }
  if (deletion !== undefined) await finishDeletion(pool, thins, states, deletion, current);
  return { transactionId: record.lastTransactionId };
}

/** The ledger runs at most one transaction ahead of the pool (INV-2). */
function checkTransaction(record: PoolRecord, current: TransactionId): void {
  const last = record.lastTransactionId;
  if (current === last || current === last - 1n) return;
  if (current < last) {
    throw mismatch(
      record,
      `the pool's metadata is at transaction ${current}, the ledger at ${last}: the metadata is older`,
    );
  }
  throw mismatch(
    record,
    `the pool's metadata is at transaction ${current}, the ledger at ${last}: the ledger is older`,
  );
}

/** Live thin devices of ours stay live: they may be mounted. What no record explains goes. */
async function adoptLive(
  ledger: Ledger,
  thins: ThinDevices,
  states: DeviceStates,
  current: TransactionId,
): Promise<void> {
  for (const { deviceUuid, info } of await thins.live()) {
    const device = ledger.byUuid(deviceUuid, current);
    if (device === undefined || !info.hasLiveTable) {
      // Made by a creation that never counted, or between DM_DEV_CREATE and its table: nobody was
      // told of it, so nobody uses it; where somebody does all the same, opening fails as busy.
      await thins.deactivate(deviceUuid);
      continue;
    }
    await thins.check(device, info);
    // A crash between suspend and resume of a snapshot's origin.
    if (info.suspended) await thins.resume(deviceUuid);
    states.set(deviceUuid, "active");
  }
}

/**
 * The thin id, if the kernel has it, is ours: the ledger gave it out before the kernel was asked, and
 * the pool has no other writer (INV-3).
 */
async function undoCreation(
  ledger: Ledger,
  pool: PoolDevice,
  thins: ThinDevices,
  device: DeviceRecord,
): Promise<void> {
  await thins.deactivate(device.uuid);
  await pool.deleteThin(device.thinId);
  ledger.undoCreate(device);
}

async function finishDeletion(
  pool: PoolDevice,
  thins: ThinDevices,
  states: DeviceStates,
  device: DeviceRecord,
  current: TransactionId,
): Promise<void> {
  await thins.deactivate(device.uuid);
  states.forget(device.uuid);
  await pool.deleteThin(device.thinId);
  await pool.setTransactionId(current, transactionId(current + 1n));
}

function mismatch(record: PoolRecord, reason: string): PoolError {
  return new PoolError({
    code: "POOL_MISMATCH",
    operation: "opening",
    object: `pool ${record.uuid}`,
    reason,
    hint: "pool.sqlite and the metadata are not of the same moment: put back the pair that belongs together.",
  });
}
