/**
 * Opening does what recovery-plan.ts decided. Every step can be done again, so a crash during recovery
 * is settled by the next one (INV-6); the decisions are in the journal before the first is done.
 */
import { type TransactionId, transactionId } from "@thinpool/dm-native";
import type { DeviceStates } from "./device-state.ts";
import { PoolError } from "./errors.ts";
import type { PoolDevice } from "./pool-device.ts";
import { planOf, type RecoveryPlan } from "./recovery-plan.ts";
import type { DeviceRecord, Ledger, PoolRecord } from "./store/ledger.ts";
import type { ThinDevices } from "./thin-devices.ts";

export interface Recovered {
  /** The transaction that pool and ledger now agree on. */
  readonly transactionId: TransactionId;
}

export interface RecoverParts {
  readonly ledger: Ledger;
  readonly record: PoolRecord;
  readonly pool: PoolDevice;
  readonly thins: ThinDevices;
  readonly states: DeviceStates;
  /** The kernel's, from the pool's status. */
  readonly current: TransactionId;
}

export async function recover(parts: RecoverParts): Promise<Recovered> {
  const plan = await planOf(parts);
  parts.ledger.journal.append(plan.decisions, Date.now());
  await settleLive(parts, plan);
  await undoCreations(parts, plan);
  let { current } = parts;
  if (plan.deletions.length > 0) current = await finishDeletions(parts, plan.deletions, current);
  return { transactionId: await removeUnfinished(parts, plan.unfinished, current) };
}

async function settleLive(parts: RecoverParts, plan: RecoveryPlan): Promise<void> {
  const { thins, states } = parts;
  for (const { deviceUuid } of plan.strays) await thins.deactivate(deviceUuid);
  for (const { device, rename, reload, resume } of plan.adopted) {
    if (rename) await thins.rename(device);
    if (reload) await thins.reload(device);
    if (resume) await thins.resume(device.uuid);
    states.set(device.uuid, "active");
  }
}

/**
 * Before the deletions of the same group, whose end moves the transaction id on: what is then still
 * recorded counts. A thin id that the kernel has is ours: the ledger gave it out before the kernel was
 * asked, and the pool has no other writer (INV-3). All thin devices first, then all records.
 */
async function undoCreations(parts: RecoverParts, plan: RecoveryPlan): Promise<void> {
  const { ledger, pool } = parts;
  const { creations, deletions, current } = plan;
  if (creations.length === 0) return;
  for (const { thinId } of creations) await pool.deleteThin(thinId);
  const next = transactionId(current + 1n);
  ledger.dropIntents({ creations, deletions: [] }, next, deletions.length === 0);
}

async function finishDeletions(
  parts: RecoverParts,
  deletions: readonly DeviceRecord[],
  current: TransactionId,
): Promise<TransactionId> {
  const { pool, thins, states } = parts;
  for (const { uuid, thinId } of deletions) {
    await thins.deactivate(uuid);
    states.forget(uuid);
    await pool.deleteThin(thinId);
  }
  const next = transactionId(current + 1n);
  await pool.setTransactionId(current, next);
  return next;
}

/** A transaction of its own, as any removal: a crash in it is settled as a deletion. */
async function removeUnfinished(
  parts: RecoverParts,
  unfinished: readonly DeviceRecord[],
  current: TransactionId,
): Promise<TransactionId> {
  if (unfinished.length === 0) return current;
  const intent = { creations: [], deletions: unfinished };
  const [outcome] = parts.ledger.beginGroup([intent], transactionId(current + 1n));
  if (outcome instanceof PoolError) throw outcome;
  return finishDeletions(parts, unfinished, current);
}
