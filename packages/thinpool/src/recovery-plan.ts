/**
 * What opening has to settle and how: the table in docs/INVARIANTS.md, as code. Looks and decides,
 * changes nothing; recover.ts does what is decided here.
 */
import type { TransactionId } from "@thinpool/dm-native";
import { PoolError } from "./errors.ts";
import type { DeviceRecord, Ledger, PoolRecord } from "./store/ledger.ts";
import type { LiveThin, ThinDevices } from "./thin-devices.ts";

export type RecoveryAction =
  /** A dm device of ours that no record explains, or without a table. */
  | "remove-dm-device"
  | "rename-dm-device"
  | "reload-dm-device"
  | "resume-dm-device"
  /** A creation whose transaction never counted: its thin device goes, then its record. */
  | "undo-creation"
  /** A deletion whose transaction was begun: there may be no way back, so forward. */
  | "finish-deletion"
  /** A device that was made and never finished (its filesystem, or a revert). */
  | "remove-unfinished"
  /** Thin ids of creations that were taken back, or that somebody else had: is there anything still? */
  | "look-at-thin-ids";

export interface RecoveryDecision {
  readonly action: RecoveryAction;
  /** The device's name; of a dm device that no record explains, its dm name. */
  readonly object: string;
  readonly reason: string;
}

export interface RecoveryPlan {
  /** In the order in which they are done. */
  readonly decisions: readonly RecoveryDecision[];
  /** The transaction that the kernel's pool is at. */
  readonly current: TransactionId;
  /** Live devices that nobody explains. */
  readonly strays: readonly LiveThin[];
  /** Uuids of the live devices with a record; each stays live, since it may be mounted. */
  readonly live: readonly string[];
  /** Those of them that are not as their record says. */
  readonly adopted: readonly Adoption[];
  readonly creations: readonly DeviceRecord[];
  readonly deletions: readonly DeviceRecord[];
  readonly unfinished: readonly DeviceRecord[];
  /** Whether the metadata has to be read: only it tells whose a thin device is. */
  readonly looks: boolean;
}

export interface Adoption {
  readonly device: DeviceRecord;
  readonly rename: boolean;
  readonly reload: boolean;
  readonly resume: boolean;
}

/** POOL_MISMATCH where what is there can't be what a crash left of this pool. */
export async function planOf(parts: {
  readonly ledger: Ledger;
  readonly record: PoolRecord;
  readonly thins: ThinDevices;
  readonly current: TransactionId;
  /** False: what does not count stays until an opening at which the pool takes changes. */
  readonly takesChanges: boolean;
}): Promise<RecoveryPlan> {
  const { ledger, record, thins, current, takesChanges } = parts;
  checkTransaction(record, current);
  const { creations, deletions } = ledger.unsettled(current);
  if (current !== record.lastTransactionId && creations.length + deletions.length === 0) {
    throw mismatch(
      record,
      `the ledger is at transaction ${record.lastTransactionId} and has nothing of it`,
    );
  }
  const decisions: RecoveryDecision[] = [];
  const strays: LiveThin[] = [];
  const uuids: string[] = [];
  const adopted: Adoption[] = [];
  for (const live of await thins.live()) {
    const device = ledger.byUuid(live.deviceUuid, current);
    if (device === undefined || !live.info.hasLiveTable) {
      strays.push(live);
      decisions.push(strayDecision(live, device));
      continue;
    }
    const adoption = await adoptionOf(thins, device, live);
    uuids.push(device.uuid);
    if (!adoption.rename && !adoption.reload && !adoption.resume) continue;
    adopted.push(adoption);
    decisions.push(...adoptionDecisions(adoption));
  }
  const unfinished = takesChanges ? ledger.unfilled(current) : [];
  decisions.push(
    ...creations.map((device) =>
      decision("undo-creation", device.name, `transaction ${device.transactionId} never counted`),
    ),
    ...deletions.map((device) =>
      decision(
        "finish-deletion",
        device.name,
        `transaction ${device.deletingTransactionId} was begun, and what is deleted can't be brought back`,
      ),
    ),
    ...unfinished.map((device) =>
      decision(
        "remove-unfinished",
        device.name,
        "making it never ended, and nobody was told of it",
      ),
    ),
  );
  const { takenBack, foreign } = ledger.doubtfulThinIds();
  const doubtful = takesChanges ? [...takenBack.keys(), ...foreign].toSorted((a, b) => a - b) : [];
  if (doubtful.length > 0) {
    decisions.push(
      decision(
        "look-at-thin-ids",
        `thin ids ${doubtful.join(", ")}`,
        "no record has them: what a creation of ours left there goes, what somebody else made stays",
      ),
    );
  }
  const looks = creations.length + doubtful.length > 0;
  return {
    decisions,
    current,
    strays,
    live: uuids,
    adopted,
    creations,
    deletions,
    unfinished,
    looks,
  };
}

/** The ledger runs at most one transaction ahead of the pool (INV-2). */
function checkTransaction(record: PoolRecord, current: TransactionId): void {
  const last = record.lastTransactionId;
  if (current === last || current === last - 1n) return;
  const older = current < last ? "metadata" : "ledger";
  throw mismatch(
    record,
    `the pool's metadata is at transaction ${current}, the ledger at ${last}: the ${older} is older`,
  );
}

function strayDecision(live: LiveThin, device: DeviceRecord | undefined): RecoveryDecision {
  // Made by a creation that never counted, or between DM_DEV_CREATE and its table: nobody was told of
  // it, so nobody uses it; where somebody does all the same, opening fails as busy.
  return decision(
    "remove-dm-device",
    device?.name ?? live.info.name,
    device === undefined ? "no record that counts explains it" : "it has no table",
  );
}

async function adoptionOf(
  thins: ThinDevices,
  device: DeviceRecord,
  live: LiveThin,
): Promise<Adoption> {
  const difference = await thins.compare(device, live.info);
  if (difference.isAnother) {
    throw new PoolError({
      code: "POOL_MISMATCH",
      operation: "adoption of a live device",
      object: device.name,
      reason: `it is ${difference.describe()}`,
      hint: `Somebody changed it: unmount it, remove it (dmsetup remove ${live.info.name}), open the pool again.`,
    });
  }
  return {
    device,
    rename: difference.isNamedOtherwise,
    reload: difference.isShorter,
    // A crash between suspend and resume of a snapshot's origin; a reload resumes as well.
    resume: live.info.suspended && !difference.isShorter,
  };
}

function adoptionDecisions({ device, rename, reload, resume }: Adoption): RecoveryDecision[] {
  const decisions: RecoveryDecision[] = [];
  if (rename) {
    decisions.push(
      decision(
        "rename-dm-device",
        device.name,
        "its record has another name: a rename never ended",
      ),
    );
  }
  if (reload) {
    decisions.push(
      decision("reload-dm-device", device.name, "its record is larger: growing it never ended"),
    );
  }
  if (resume) {
    decisions.push(
      decision("resume-dm-device", device.name, "it was left suspended: whoever uses it hangs"),
    );
  }
  return decisions;
}

function decision(action: RecoveryAction, object: string, reason: string): RecoveryDecision {
  return { action, object, reason };
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
