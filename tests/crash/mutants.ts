/**
 * Small damages to the engine, each of which some test must see: one for every fsync, for every step
 * of recovery, and for the guards that keep a doubt from growing; and those to the daemon's guards.
 * `./run mutants` applies them one by one in a copy of the tree.
 */
import { GUARD_MUTANTS } from "../guards/mutants.ts";

export interface Mutant {
  /** What the engine then no longer does. */
  readonly what: string;
  readonly file: string;
  /** Must be there exactly once. */
  readonly search: string;
  readonly replace: string;
  /** What sees it sooner than random histories: a test file, or a test in it by its name. */
  readonly test?: { readonly file: string; readonly name?: string };
}

const SRC = "packages/thinpool/src";
/** Dies at every boundary of one operation: for steps that few histories come to. */
const BOUNDARIES = `${SRC}/crash.test.ts`;
/** Each call of each operation fails, and the ones after it. */
const FAULTS = `${SRC}/faults.test.ts`;

function without(what: string, file: string, search: string, dying?: string): Mutant {
  const rest = dying === undefined ? {} : { test: { file: BOUNDARIES, name: dying } };
  return { what, file: `${SRC}/${file}`, search, replace: "", ...rest };
}

function instead(
  what: string,
  file: string,
  search: string,
  replace: string,
  test?: Mutant["test"],
): Mutant {
  const rest = test === undefined ? {} : { test };
  return { what, file: `${SRC}/${file}`, search, replace, ...rest };
}

const FSYNCS: readonly Mutant[] = [
  without("sync the folders above a new pool", "folder.ts", "    await syncFolder(above);\n"),
  without("sync a new file", "folder.ts", "    await file.sync();\n"),
  without("sync any folder", "folder.ts", "    await handle.sync();\n"),
  without(
    "sync the folder before its ledger goes",
    "folder.ts",
    "  await syncFolder(dirname(path));\n",
  ),
  without(
    "sync the folder of a new pool's files",
    "create-pool.ts",
    "  await syncFolder(paths.folder);\n",
  ),
  instead(
    "sync the ledger at each commit",
    "store/database.ts",
    "synchronous = FULL",
    "synchronous = NORMAL",
  ),
];

/** The random histories make backups and grow pools; repair has its own tests. */
const MORE_FSYNCS: readonly Mutant[] = [
  without("sync a file that grows", "space/grow.ts", "    await file.sync();\n"),
  without(
    "sync at opening what grew",
    "space/settle.ts",
    "      await syncFile(recorded.dataPath);\n",
  ),
];

const RECOVERY: readonly Mutant[] = [
  without(
    "remove dm devices that no record explains",
    "recover.ts",
    "  for (const { deviceUuid } of plan.strays) await thins.deactivate(deviceUuid);\n",
  ),
  without(
    "give a dm device its new name",
    "recover.ts",
    "    if (rename) await thins.rename(device);\n",
    "rename of an active device: the process dies",
  ),
  without(
    "give a dm device its new size",
    "recover.ts",
    "    if (reload) await thins.reload(device);\n",
    "resize of an active device: the process dies",
  ),
  without(
    "resume what was left suspended",
    "recover.ts",
    "    if (resume) await thins.resume(device.uuid);\n",
    "snapshot of an active origin: the process dies",
  ),
  without(
    "know adopted devices as active",
    "recover.ts",
    '    states.set(device.uuid, "active");\n',
  ),
  without(
    "delete the thin devices of creations that never counted",
    "recover.ts",
    "  for (const { thinId } of creations) if (!foreign.has(thinId)) await pool.deleteThin(thinId);\n",
  ),
  without(
    "drop the records of creations that never counted",
    "recover.ts",
    "  ledger.dropIntents({ creations, deletions: [] }, next, deletions.length === 0, lasted);\n",
  ),
  without("undo creations", "recover.ts", "  await undoCreations(parts, plan, found);\n"),
  without(
    "delete the thin devices of deletions that were begun",
    "recover.ts",
    "    await pool.deleteThin(thinId);\n",
  ),
  without(
    "move the transaction id on after deletions",
    "recover.ts",
    "  await pool.setTransactionId(current, next);\n",
  ),
  instead(
    "remove what was never finished",
    "recover.ts",
    "  if (unfinished.length === 0) return current;\n",
    "  if (unfinished.length >= 0) return current;\n",
  ),
  without(
    "remove a pool device without a table before a check",
    "pool-device.ts",
    "    await removeDeviceRetrying(kernel.dm, { uuid: poolDmUuid(poolUuid) }, REMOVE_RETRY);\n",
  ),
  instead(
    "take over loops that are attached",
    "backing.ts",
    "  if (left !== undefined) return adoptLoop(left, path);\n",
    "",
  ),
  without(
    "take down the dm device of a pool that was never finished",
    "create-pool.ts",
    "    await kernel.dm.removeDevice({ uuid: poolDmUuid(record.uuid) });\n",
  ),
  without(
    "detach the loops of a pool that was never finished",
    "create-pool.ts",
    "      await kernel.loops.detach(loop.path);\n",
  ),
  without(
    "remove the files of a pool that was never finished",
    "create-pool.ts",
    "    await removeFile(paths.data);\n",
  ),
];

const GUARDS: readonly Mutant[] = [
  without(
    "degrade the pool before the next group when a commit is in doubt",
    "transactions.ts",
    '        if (isDoubt(error)) this.#host.failure(error, "transaction", "the group");\n',
  ),
  instead(
    "degrade the pool when a half-made dm device stays",
    "make-live.ts",
    "throw halfMade ? new UndoError(error, [error]) : error;",
    "throw error;",
    { file: FAULTS },
  ),
  without(
    "resume an origin after its snapshot",
    "thin-maker.ts",
    '        await transition(states, origin, "resume", () => thins.resume(origin.uuid));\n',
  ),
  instead(
    "take a thin device that is gone for deleted",
    "pool-device.ts",
    '      await this.#message(thinPoolMessage.delete(id));\n    } catch (error) {\n      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;\n',
    "      await this.#message(thinPoolMessage.delete(id));\n    } catch (error) {\n      throw error;\n",
  ),
  without(
    "undo a creation that failed",
    "thin-maker.ts",
    '          undo.push("deleting the thin device", () => this.#parts.pool.deleteThin(record.thinId));\n',
  ),
  instead(
    "refuse a ledger that is not of the metadata's moment",
    "recovery-plan.ts",
    "  if (current === last || current === last - 1n) return;\n",
    "  if (current !== undefined) return;\n",
    { file: FAULTS, name: "older than the ledger" },
  ),
];

export const MUTANTS: readonly Mutant[] = [
  ...FSYNCS,
  ...MORE_FSYNCS,
  ...RECOVERY,
  ...GUARDS,
  ...GUARD_MUTANTS,
];
