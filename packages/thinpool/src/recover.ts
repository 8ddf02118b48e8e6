/**
 * Opening does what recovery-plan.ts decided. Every step can be done again, so a crash during recovery
 * is settled by the next one (INV-6); the decisions are in the journal before the first is done.
 */
import { type ThinId, type TransactionId, transactionId } from "@thinpool/dm-native";
import type { DeviceStates } from "./device-state.ts";
import { PoolError } from "./errors.ts";
import { isSick } from "./health/sick-pool.ts";
import { deviceOf, foreignReason, isLeftover, leftoverReason } from "./health/thin-proof.ts";
import type { PoolDevice } from "./pool-device.ts";
import { planOf, type RecoveryPlan } from "./recovery-plan.ts";
import type { DeviceRecord, Ledger, PoolRecord } from "./store/ledger.ts";
import { poolStateOf } from "./tables.ts";
import type { ThinDevices } from "./thin-devices.ts";
import type { MetadataDevice, MetadataListing } from "./tools/metadata-tools.ts";

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
  /** False for a sick pool, which refuses every message. */
  readonly takesChanges: boolean;
  /** The metadata's devices; undefined where they can't be had. */
  readonly look: () => Promise<MetadataListing | undefined>;
}

export async function recover(parts: RecoverParts): Promise<Recovered> {
  const plan = await planOf(parts);
  parts.ledger.journal.append(plan.decisions, Date.now());
  await settleLive(parts, plan);
  const found = plan.looks ? await parts.look() : undefined;
  if (found !== undefined) await settleThinIds(parts, found);
  await undoCreations(parts, plan, found);
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
  }
  for (const uuid of plan.live) states.set(uuid, "active");
}

/** What intents left that were taken back goes; ids that somebody else had and has no more are free. */
async function settleThinIds(parts: RecoverParts, found: MetadataListing): Promise<void> {
  const { ledger, pool } = parts;
  const ids = ledger.doubtfulThinIds();
  if (ids.takenBack.size + ids.foreign.size === 0) return;
  const leftovers = found.devices.filter((device) =>
    isLeftover(device, ids.takenBack.get(Number(device.thinId))),
  );
  ledger.journal.append(
    leftovers.map((device) => ({
      action: "remove-leftover",
      object: `thin id ${device.thinId}`,
      reason: leftoverReason(device),
    })),
    Date.now(),
  );
  for (const { thinId } of leftovers) await pool.deleteThin(thinId);
  ledger.settleThinIds([...ids.foreign].filter((id) => deviceOf(found, id) === undefined));
}

/**
 * Before the deletions of the same group, whose end moves the transaction id on: what is then still
 * recorded counts. A thin id that the kernel has is ours: the ledger gave it out before the kernel was
 * asked (INV-3). Only where its number says that it was made before, the process died between the kernel's
 * EEXIST and its record: then it stays. All thin devices first, then all records.
 */
async function undoCreations(
  parts: RecoverParts,
  plan: RecoveryPlan,
  found: MetadataListing | undefined,
): Promise<void> {
  const { ledger, pool } = parts;
  const { creations, deletions, current } = plan;
  if (creations.length === 0) return;
  const foreign = new Map<ThinId, MetadataDevice>();
  for (const { thinId } of creations) {
    const device = found && deviceOf(found, thinId);
    if (device !== undefined && device.transactionId !== current) foreign.set(thinId, device);
  }
  ledger.disownThinIds(
    [...foreign].map(([thinId, device]) => ({ thinId, reason: foreignReason(device) })),
    Date.now(),
  );
  for (const { thinId } of creations) if (!foreign.has(thinId)) await pool.deleteThin(thinId);
  const next = transactionId(current + 1n);
  // A message whose commit failed was accepted all the same, and its pool takes no more.
  const lasted = !isSick(poolStateOf(await pool.status()));
  ledger.dropIntents({ creations, deletions: [] }, next, deletions.length === 0, lasted);
}

/**
 * None of them is live: a removal deactivates before its intent is recorded, and what is unfinished went as
 * a stray.
 */
async function finishDeletions(
  parts: RecoverParts,
  deletions: readonly DeviceRecord[],
  current: TransactionId,
): Promise<TransactionId> {
  const { pool } = parts;
  for (const { thinId } of deletions) await pool.deleteThin(thinId);
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
  const { outcomes, commit } = parts.ledger.beginGroup([intent], transactionId(current + 1n));
  const [outcome] = outcomes;
  if (outcome instanceof PoolError) throw outcome;
  await commit?.sync();
  return finishDeletions(parts, unfinished, current);
}
