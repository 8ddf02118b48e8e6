/** What opening a pool would do, and why: the same decisions as `openPool`, none of them done. */
import { realpath } from "node:fs/promises";
import { attachBacking } from "./backing.ts";
import { PoolError } from "./errors.ts";
import { poolErrorFrom } from "./errors-from-native.ts";
import { checkFolderName, exists, folderPaths } from "./folder.ts";
import type { Kernel } from "./kernel.ts";
import { isSick, sickPoolError } from "./health/sick-pool.ts";
import { lockPool } from "./lock.ts";
import { checkOwnFolder } from "./own-folder.ts";
import { PoolDevice } from "./pool-device.ts";
import { probeKernel } from "./probe.ts";
import { planOf, type RecoveryDecision } from "./recovery-plan.ts";
import { looksOf, tablesOf } from "./space/settle.ts";
import { growthLeft, targetOf } from "./space/sizes.ts";
import { Ledger, type PoolRecord } from "./store/ledger.ts";
import { poolStateOf } from "./tables.ts";
import { ThinDevices } from "./thin-devices.ts";
import { degradedError, isUndoError, Undo } from "./undo.ts";

export interface PlannedRecovery {
  /** The transactions of the kernel's pool and of the ledger: the latter may be one ahead. */
  readonly poolTransactionId: bigint;
  readonly ledgerTransactionId: bigint;
  /** In the order in which opening would do them; none: it would find all in order. */
  readonly decisions: readonly RecoveryDecision[];
}

/**
 * Rejects as `openPool` would. A pool that is not up is brought up for the look, read-only, and taken
 * down again: only the kernel knows its transaction id. POOL_LOCKED while a process has it open.
 */
export async function planRecovery(options: {
  readonly folder: string;
  readonly kernel: Kernel;
}): Promise<PlannedRecovery> {
  const { folder, kernel } = options;
  const undo = new Undo();
  let planned: PlannedRecovery | undefined;
  let failure: unknown;
  try {
    planned = await look(folder, kernel, undo);
  } catch (error) {
    failure = error;
  }
  const broken = isUndoError(failure);
  const [undoFailure] = await undo.run(broken);
  if (broken || undoFailure !== undefined) {
    throw degradedError("planning", folder, failure ?? undoFailure);
  }
  if (planned === undefined) {
    throw poolErrorFrom(failure, { operation: "planning", object: folder });
  }
  return planned;
}

async function look(folder: string, kernel: Kernel, undo: Undo): Promise<PlannedRecovery> {
  checkFolderName(folder);
  await probeKernel(kernel);
  if (!(await exists(folderPaths(folder).ledger))) throw notFound(folder);
  const paths = folderPaths(await realpath(folder));
  const lock = lockPool(paths, "planning");
  undo.pushAlways("releasing the lock", () => lock.release());
  const ledger = Ledger.open(paths.ledger);
  undo.pushAlways("closing the ledger", () => ledger.close());
  const record = ledger.pool();
  if (record?.state !== "created") throw notFound(folder);
  await checkOwnFolder(record, paths, "planning");
  const { swap } = ledger.health;
  if (swap !== undefined) throw wouldGoOn(folder, `a ${swap.kind} was interrupted`);
  const policy = ledger.space.policy();
  if (policy === undefined) throw notFound(folder);
  const grown = await sizesToLookAt(kernel, record, folder);
  const backing = await attachBacking(kernel, grown, undo);
  const looks = looksOf(grown, record, backing);
  // Of what an earlier look left when it was killed nothing is as opening would find it.
  await PoolDevice.removeUnlessLive(kernel, record.uuid, looks);
  const tables = tablesOf(grown, record, backing, policy);
  const pool = await PoolDevice.open(kernel, record, tables, undo, { look: looks });
  const status = await pool.status();
  if (status.state !== "working") throw sickPoolError("failed", "planning", folder);
  const thins = new ThinDevices(kernel, record.uuid, pool.dev);
  // One that was brought up for the look takes none, and for an opening does.
  const takesChanges = !pool.adopted || !isSick(poolStateOf(status));
  const plan = await planOf({
    ledger,
    record,
    thins,
    current: status.transactionId,
    takesChanges,
  });
  return {
    poolTransactionId: status.transactionId,
    ledgerTransactionId: record.lastTransactionId,
    decisions: plan.decisions,
  };
}

/** The sizes of the files: those of a growth that a crash interrupted, where they have them. */
async function sizesToLookAt(
  kernel: Kernel,
  record: PoolRecord,
  folder: string,
): Promise<PoolRecord> {
  const left = await growthLeft(kernel, record);
  if (left.kind !== "forward") return record;
  if (record.metadataTargetBytes === record.metadataBytes)
    return { ...record, ...targetOf(record) };
  // The kernel would grow the metadata at once, and fails to where the pool is read-only.
  throw wouldGoOn(folder, "a growth of the metadata was interrupted");
}

/** Opening goes on with it before there is anything to see. */
function wouldGoOn(folder: string, reason: string): PoolError {
  return new PoolError({
    code: "POOL_UNSUPPORTED",
    operation: "planning",
    object: folder,
    reason: `${reason}, and can't be looked past`,
    hint: "Open the pool: that ends it.",
  });
}

function notFound(folder: string): PoolError {
  return new PoolError({
    code: "POOL_NOT_FOUND",
    operation: "planning",
    object: folder,
    reason: "it holds no pool, or creating it never ended",
    hint: "Create a pool there first, or name the right folder.",
  });
}
