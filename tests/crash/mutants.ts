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
/** The same of what a pool's folder goes through as a whole, on a disk with a volatile cache. */
const FOLDER = "tests/crash/boundaries.test.ts";
/** Each call of each operation fails, and the ones after it. */
const FAULTS = `${SRC}/faults.test.ts`;

type Test = NonNullable<Mutant["test"]>;

const dying = (name: string): Test => ({ file: BOUNDARIES, name });
const folder = (name: string): Test => ({ file: FOLDER, name });
const inFile = (file: string, name?: string): Test => ({
  file: `${SRC}/${file}`,
  ...(name === undefined ? {} : { name }),
});

function without(what: string, file: string, search: string, test?: Test): Mutant {
  return instead(what, file, search, "", test);
}

function instead(what: string, file: string, search: string, replace: string, test?: Test): Mutant {
  const rest = test === undefined ? {} : { test };
  return { what, file: `${SRC}/${file}`, search, replace, ...rest };
}

const FSYNCS: readonly Mutant[] = [
  without(
    "sync the folders above a new pool",
    "folder.ts",
    "    await syncFolder(above);\n",
    folder("^create: the power"),
  ),
  without("sync a new file", "folder.ts", "    await file.sync();\n", folder("^create: the power")),
  without(
    "sync any folder",
    "folder.ts",
    "    await handle.sync();\n",
    folder("^create: the power"),
  ),
  without(
    "sync a WAL whose process died in its commit",
    "store/database.ts",
    "    syncWal(path);\n",
    folder("^repair: the process dies in a commit"),
  ),
  without(
    "sync any file that others wrote",
    "folder.ts",
    "    await file.datasync();\n",
    folder("^backup: the power"),
  ),
  without(
    "sync the folder before its ledger goes",
    "folder.ts",
    "  await syncFolder(dirname(path));\n",
    folder("^destroy: the machine"),
  ),
  without(
    "sync the folder of a new pool's files",
    "create-pool.ts",
    "  await syncFolder(paths.folder);\n",
    folder("^create: the power"),
  ),
  instead(
    "sync the ledger at each commit",
    "store/database.ts",
    "synchronous = FULL",
    "synchronous = NORMAL",
    folder("^create: the power"),
  ),
  instead(
    "sync a group's intents before its messages",
    "transactions.ts",
    "pool.messages(texts, then, commit.file)",
    "pool.messages(texts, then)",
  ),
  without(
    "sync the intents of a group that takes more than messages",
    "transactions.ts",
    "        // Its steps come one by one.\n        await commit.sync();\n",
  ),
  without(
    "sync a group's intents where no run can be made",
    "transactions.ts",
    "      // None could be sent: step by step each member meets, and undoes, the same.\n      await commit.sync();\n",
    inFile("group-commit.test.ts", "^a group's intents last"),
  ),
  instead(
    "degrade the pool when a sync of a group's intents fails",
    "transactions.ts",
    "throw commit.failed(run.failure);",
    "throw run.failure;",
    inFile("group-commit.test.ts", "^a disk that fails a group's sync"),
  ),
  instead(
    "keep an event back until its commit lasts",
    "events/event-table.ts",
    "this.#db.lastingEvents ?? Infinity",
    "Infinity",
    inFile("store/wal-file.test.ts", "^an event is not told"),
  ),
  without(
    "refuse a log whose sync has failed",
    "store/wal-file.ts",
    "    if (this.#failure !== undefined) throw this.#failure;\n",
    inFile("store/wal-file.test.ts", "^after a sync that failed"),
  ),
  instead(
    "sync that a removal has begun",
    "space/emptyings.ts",
    "pool.messages([], steps, commit.file)",
    "pool.messages([], steps)",
  ),
  instead(
    "sync that several removals have begun",
    "space/emptyings.ts",
    "    if (!isLone || steps === undefined) {\n      await commit.sync();\n",
    "    if (!isLone || steps === undefined) {\n",
    inFile("group-commit.test.ts", "^that a device is removed lasts"),
  ),
  without(
    "sync that a removal has begun where no run can be made",
    "space/emptyings.ts",
    "      // None could be made: the activation, by itself, meets the same, and tells it.\n      await commit.sync();\n",
    inFile("group-commit.test.ts", "^that a device is removed lasts"),
  ),
  instead(
    "degrade the pool when the sync of a removal fails",
    "space/emptyings.ts",
    "throw commit.failed(run.failure);",
    "throw run.failure;",
    inFile("group-commit.test.ts", "^a disk that fails a removal's sync"),
  ),
  instead(
    "degrade the pool when a removal's run ends in the middle",
    "space/emptyings.ts",
    "throw commit.failed(error);",
    "throw error;",
    inFile("group-commit.test.ts", "^a disk that fails a removal's sync"),
  ),
  without(
    "sync a file that grows",
    "space/grow.ts",
    "    await file.sync();\n",
    folder("^grow: the power"),
  ),
  without(
    "sync at opening the data that grew",
    "space/settle.ts",
    "      await syncFile(recorded.dataPath);\n",
    folder("^grow: the process dies, and"),
  ),
  without(
    "sync at opening the metadata that grew",
    "space/settle.ts",
    "      await syncFile(recorded.metadataPath);\n",
    folder("^grow: the process dies, and"),
  ),
  without(
    "sync the name of the backups' folder",
    "health/backup-files.ts",
    "    await syncFolder(paths.folder);\n",
    folder("^backup: the power"),
  ),
  without(
    "sync a backup's ledger",
    "health/backup-files.ts",
    "  await syncFile(staged.ledger);\n",
    folder("^backup: the power"),
  ),
  without(
    "sync a backup's names",
    "health/backup-files.ts",
    "  await syncFolder(backupFolder(paths));\n",
    folder("^backup: the power"),
  ),
  without(
    "sync a backup's dump",
    "tools/linux-metadata-tools.ts",
    "    await file.sync();\n",
    inFile("tools/run-tool.test.ts"),
  ),
  without(
    "flush what was built on a spare",
    "health/spare.ts",
    "      await kernel.blocks.flush(path);\n",
    folder("^repair: the power"),
  ),
  instead(
    "sync the name of the metadata that is kept",
    "health/swap.ts",
    "      await syncFolder(folder);\n      await rename(",
    "      await rename(",
    folder("^repair: the machine"),
  ),
  instead(
    "sync the folder after a swap of the metadata",
    "health/swap.ts",
    "swap.sparePath, record.metadataPath);\n      await syncFolder(folder);\n",
    "swap.sparePath, record.metadataPath);\n",
    folder("^repair: the power"),
  ),
  without(
    "sync a spare's name that is not in the ledger's folder",
    "health/restore.ts",
    "      if (spare.isFile) await syncFolder(dirname(spare.path));\n",
    inFile("health/repair.test.ts", "^metadata in another folder"),
  ),
  without(
    "sync the ledger that is put back",
    "health/restore.ts",
    "    await syncFile(staged);\n",
    folder("^restore: the machine"),
  ),
  instead(
    "sync the name of the ledger that is kept",
    "health/restore.ts",
    "      await syncFolder(pool.paths.folder);\n      await rename(",
    "      await rename(",
    folder("^restore: the machine"),
  ),
  instead(
    "sync the folder after the ledger was put back",
    "health/restore.ts",
    "pool.paths.ledger);\n      await syncFolder(pool.paths.folder);\n",
    "pool.paths.ledger);\n",
    folder("^restore on disks: the machine"),
  ),
  without(
    "flush the metadata's erased start",
    "health/metadata-head.ts",
    "  await kernel.blocks.flush(path);\n",
    folder("^destroy on disks: the power"),
  ),
  without(
    "sync the folder of an adopted pool's files before its ledger goes",
    "health/destroy.ts",
    "      await syncFoldersOf(files);\n",
    folder("^destroy what was adopted: the power"),
  ),
  without(
    "sync the folder of a destroyed pool",
    "health/destroy.ts",
    "    await syncFolder(paths.folder);\n",
    folder("^destroy: the power"),
  ),
];

/** What opening does before recover.ts has its turn. */
const OPENING: readonly Mutant[] = [
  instead(
    "finish a swap of the metadata",
    "open-pool.ts",
    "await finishSwap(ledger)",
    "ledger.pool()!; void finishSwap",
    folder("^restore: the process"),
  ),
  instead(
    "keep the metadata that is swapped out",
    "health/swap.ts",
    "      if (!(await exists(swap.keptPath))) await link(record.metadataPath, swap.keptPath);\n",
    "      void link;\n",
    folder("^repair: the power"),
  ),
  instead(
    "put the spare in the metadata's place",
    "health/swap.ts",
    "      await rename(swap.sparePath, record.metadataPath);\n",
    "      void rename;\n",
    folder("^repair: the power"),
  ),
  without(
    "end a swap of the metadata",
    "health/swap.ts",
    "    ledger.health.endSwap();\n",
    folder("^repair: the power"),
  ),
  without(
    "end a swap of block devices",
    "health/swap.ts",
    "    ledger.health.endSwap(swap.sparePath);\n",
    folder("^restore on disks: the power"),
  ),
  without(
    "take a growth back that never was",
    "space/settle.ts",
    '  if (left.kind === "cancel") ledger.space.cancelGrowth();\n',
    inFile("space/growth-crash.test.ts", "what a crash before the file grew"),
  ),
  instead(
    "go on with a growth",
    "space/settle.ts",
    "    return { record: { ...recorded, ...targetOf(recorded) }, grows: true };\n",
    "    void targetOf;\n",
    inFile("space/growth-crash.test.ts", "growth of data: the process"),
  ),
  without(
    "refresh the loops of files that grew",
    "open-pool.ts",
    "      if (grows) await refreshLoops(kernel, backing);\n",
    inFile("space/growth-crash.test.ts", "growth of (data|metadata): the process"),
  ),
  instead(
    "load the table of a metadata that grew",
    "open-pool.ts",
    "{ reload: grows }",
    "{ reload: false }",
    inFile("space/growth-crash.test.ts", "growth of metadata: the process"),
  ),
  without(
    "record the end of a growth",
    "open-pool.ts",
    '      if (grows && poolStateOf(status) !== "needs-check") endGrowth(ledger, record);\n',
    inFile("space/growth-crash.test.ts", "growth of data: the process"),
  ),
  instead(
    "check the metadata after an unclean stop",
    "health/before-activation.ts",
    "  if (!ledger.health.cleanStop || !known) {\n",
    "  if (!known) {\n",
    inFile("health/activation.test.ts", "damage refuses"),
  ),
  instead(
    "refuse a blank metadata device",
    "health/before-activation.ts",
    "  if (!known) {\n    throw",
    "  if (known && !known) {\n    throw",
    inFile("health/activation.test.ts", "a blank metadata"),
  ),
  without(
    "take the clean mark away before the pool goes live",
    "health/before-activation.ts",
    "  if (ledger.health.cleanStop) ledger.health.setCleanStop(false);\n",
    inFile("health/activation.test.ts"),
  ),
  without(
    "remove a pool device without a table before a check",
    "pool-device.ts",
    "    await removeDeviceRetrying(kernel.dm, { uuid }, REMOVE_RETRY);\n",
  ),
  instead(
    "remove what a killed look left up",
    "pool-device.ts",
    "      if (!looks.some((table) => sameTable(targets, table))) return true;\n",
    "      return true;\n",
    inFile("verbs/verbs.test.ts", "planning that is killed"),
  ),
  without(
    "refuse to open a copy of a folder",
    "open-pool.ts",
    '      await checkOwnFolder(found, paths, "opening");\n',
    inFile("own-folder.test.ts"),
  ),
  without(
    "refuse to destroy by a copy of a folder",
    "health/closed-pool.ts",
    "        if (options.copied !== true) await checkOwnFolder(record, paths, operation);\n",
    inFile("own-folder.test.ts"),
  ),
  without(
    "record that a folder was moved",
    "open-pool.ts",
    "      if (found.folder !== paths.folder) ledger.setFolder(paths.folder);\n",
    inFile("own-folder.test.ts"),
  ),
  without(
    "refuse to erase a device that is in use",
    "health/destroy.ts",
    "    for (const path of erased) await refuseInUse(kernel, path);\n",
    inFile("health/adopt.test.ts"),
  ),
  without(
    "refuse a promise where it is recorded",
    "store/ledger.ts",
    "        if (refused !== undefined) throw refused;\n",
    inFile("space/space.test.ts", "over-provisioning"),
  ),
  instead(
    "take over loops that are attached",
    "backing.ts",
    "  if (left !== undefined) return adoptLoop(left, path);\n",
    "",
    dying("^update: the process"),
  ),
  instead(
    "refuse a live pool with another table",
    "pool-device.ts",
    "  if (tables.some((table) => sameTable(targets, table))) return false;\n",
    "  if (tables.length > 0) return false;\n",
    inFile("health/activation.test.ts", "another table"),
  ),
  instead(
    "give a live pool the table that it should have",
    "pool-device.ts",
    "      if (reload) await pool.swapTable(table);\n      else if",
    "      if",
    inFile("space/growth-crash.test.ts", "growth of data: the process"),
  ),
  instead(
    "resume a pool that was left suspended",
    "pool-device.ts",
    "      else if (live.suspended) await kernel.dm.resume({ uuid: poolDmUuid(record.uuid) });\n",
    "",
    { file: FAULTS, name: "left suspended" },
  ),
  without(
    "give back the metadata snapshot that a dead process held",
    "health/metadata-snapshot.ts",
    "  if (status.heldMetadataRoot !== undefined) await pool.releaseMetadataSnapshot();\n",
    inFile("health/reading.test.ts", "a metadata snapshot that"),
  ),
  instead(
    "forget the holder of a metadata snapshot that was given back",
    "health/metadata-snapshot.ts",
    "await pool.releaseMetadataSnapshot();\n  ledger.health.setSnapshotHolder(undefined);\n",
    "await pool.releaseMetadataSnapshot();\n",
    inFile("health/reading.test.ts", "a metadata snapshot that"),
  ),
];

/** Each step of recover.ts. */
const RECOVERY: readonly Mutant[] = [
  without(
    "write its decisions down before the first is done",
    "recover.ts",
    "  parts.ledger.journal.append(plan.decisions, Date.now());\n",
    inFile("taken-ids.test.ts", "and opening deletes it"),
  ),
  without(
    "settle what is live",
    "recover.ts",
    "  await settleLive(parts, plan);\n",
    dying("rename of an active device: the process"),
  ),
  without(
    "remove dm devices that no record explains",
    "recover.ts",
    "  for (const { deviceUuid } of plan.strays) await thins.deactivate(deviceUuid);\n",
  ),
  without(
    "give a dm device its new name",
    "recover.ts",
    "    if (rename) await thins.rename(device);\n",
    dying("rename of an active device: the process"),
  ),
  without(
    "give a dm device its new size",
    "recover.ts",
    "    if (reload) await thins.reload(device);\n",
    dying("resize of an active device: the process"),
  ),
  without(
    "resume what was left suspended",
    "recover.ts",
    "    if (resume) await thins.resume(device.uuid);\n",
    dying("snapshot of an active origin: the process"),
  ),
  without(
    "know adopted devices as active",
    "recover.ts",
    '  for (const uuid of plan.live) states.set(uuid, "active");\n',
    dying("^activate: the process"),
  ),
  without(
    "settle thin ids in doubt",
    "recover.ts",
    "  if (found !== undefined) await settleThinIds(parts, found);\n",
    inFile("taken-ids.test.ts"),
  ),
  without(
    "delete what creations left that were taken back",
    "recover.ts",
    "  for (const { thinId } of leftovers) await pool.deleteThin(thinId);\n",
    inFile("taken-ids.test.ts"),
  ),
  without(
    "say what of taken-back creations it deletes",
    "recover.ts",
    `  ledger.journal.append(\n    leftovers.map((device) => ({\n      action: "remove-leftover",\n      object: \`thin id \${device.thinId}\`,\n      reason: leftoverReason(device),\n    })),\n    Date.now(),\n  );\n`,
    inFile("taken-ids.test.ts"),
  ),
  without(
    "give thin ids free that nobody has any more",
    "recover.ts",
    "  ledger.settleThinIds([...ids.foreign].filter((id) => deviceOf(found, id) === undefined));\n",
    inFile("taken-ids.test.ts"),
  ),
  without(
    "undo creations",
    "recover.ts",
    "  await undoCreations(parts, plan, found);\n",
    dying("^snapshot of an active origin: the process"),
  ),
  instead(
    "leave what a stranger made before the intent",
    "recover.ts",
    "device.transactionId !== current) foreign",
    "device.transactionId < 0n) foreign",
    inFile("taken-ids.test.ts", "took before our intent"),
  ),
  without(
    "remember what a stranger made before the intent",
    "recover.ts",
    `  ledger.disownThinIds(\n    [...foreign].map(([thinId, device]) => ({ thinId, reason: foreignReason(device) })),\n    Date.now(),\n  );\n`,
    inFile("taken-ids.test.ts"),
  ),
  without(
    "delete the thin devices of creations that never counted",
    "recover.ts",
    "  for (const { thinId } of creations) if (!foreign.has(thinId)) await pool.deleteThin(thinId);\n",
    dying("^snapshot of an active origin: the process"),
  ),
  without(
    "drop the records of creations that never counted",
    "recover.ts",
    "  ledger.dropIntents({ creations, deletions: [] }, next, deletions.length === 0, lasted);\n",
    dying("^snapshot of an active origin: the process"),
  ),
  instead(
    "remember ids of creations where the pool is too sick to have lost them",
    "recover.ts",
    "!isSick(poolStateOf(await pool.status()))",
    "!isSick(poolStateOf(await pool.status())) || true",
    inFile("taken-ids.test.ts", "falls sick"),
  ),
  without(
    "finish deletions",
    "recover.ts",
    "  if (plan.deletions.length > 0) current = await finishDeletions(parts, plan.deletions, current);\n",
    dying("^remove of an active device: the process"),
  ),
  without(
    "delete the thin devices of deletions that were begun",
    "recover.ts",
    "  for (const { thinId } of deletions) await pool.deleteThin(thinId);\n",
    dying("^remove of an active device: the process"),
  ),
  without(
    "move the transaction id on after deletions",
    "recover.ts",
    "  await pool.setTransactionId(current, next);\n",
    dying("^remove of an active device: the process"),
  ),
  instead(
    "remove what was never finished",
    "recover.ts",
    "  if (unfinished.length === 0) return current;\n",
    "  if (unfinished.length >= 0) return current;\n",
    dying("^createDevice: the process"),
  ),
];

/** What createPool, destroy, backup and restore do about one of theirs that was cut short. */
const CUT_SHORT: readonly Mutant[] = [
  without(
    "take down the dm device of a pool that was never finished",
    "create-pool.ts",
    "    await kernel.dm.removeDevice({ uuid: poolDmUuid(record.uuid) });\n",
    inFile("crash.test.ts", "createPool: the process"),
  ),
  without(
    "detach the loops of a pool that was never finished",
    "create-pool.ts",
    "      await kernel.loops.detach(loop.path);\n",
    inFile("crash.test.ts", "createPool: the process"),
  ),
  without(
    "remove the data of a pool that was never finished",
    "create-pool.ts",
    "    await removeFile(record.dataPath);\n",
    inFile("crash.test.ts", "createPool: the process"),
  ),
  without(
    "remove the metadata of a pool that was never finished",
    "create-pool.ts",
    "    await removeFile(record.metadataPath);\n",
    inFile("crash.test.ts", "createPool: the process"),
  ),
  instead(
    "remove the ledger of a pool that was never finished, the last of it",
    "create-pool.ts",
    "is.\n  await removeLedger(paths.ledger);\n",
    "is.\n",
    inFile("crash.test.ts", "createPool: the process"),
  ),
  without(
    "remove what a backup left that was cut short",
    "health/backup-files.ts",
    "    if (name.endsWith(PARTIAL_SUFFIX) || isHalf(name, names)) await removeFile(join(folder, name));\n",
    folder("^backup: the process"),
  ),
  without(
    "remove the ledger that a restore staged and left",
    "health/restore.ts",
    "    await removeLedger(staged);\n",
    folder("^restore: the process"),
  ),
  without(
    "remove the spare that was left",
    "health/spare.ts",
    "    await removeFile(path);\n",
    folder("^repair: the process"),
  ),
  without(
    "take the kept name from a ledger that was not replaced",
    "health/restore.ts",
    "    await removeOtherNames(pool.paths.ledger);\n",
    folder("^restore: the process"),
  ),
  without(
    "name the swap in the ledger that is put back",
    "health/restore.ts",
    `        ledger.health.beginSwap({\n          kind: "restore",\n          sparePath: spare.path,\n          keptPath: keptMetadataPath,\n          atMs,\n        });\n`,
    folder("^restore: the power"),
  ),
  instead(
    "finish a swap before a repair",
    "health/repair.ts",
    "await finishSwap(pool.ledger);\n    const",
    "pool.record;\n    const",
    folder("^repair: the process"),
  ),
  instead(
    "finish a swap before a restore",
    "health/restore.ts",
    "await finishSwap(pool.ledger);\n    const { record }",
    "pool.record;\n    const { record }",
    folder("^restore after a repair that was cut short: the process"),
  ),
  without(
    "give up a pool before its files go",
    "health/destroy.ts",
    "    ledger.markPoolUncreated();\n",
    folder("^destroy: the process"),
  ),
];

const GUARDS: readonly Mutant[] = [
  without(
    "degrade the pool before the next group when a commit is in doubt",
    "transactions.ts",
    '        if (isDoubt(error)) this.#host.failure(error, "transaction", "the group");\n',
    inFile("group-commit.test.ts", "^after a commit that failed"),
  ),
  instead(
    "degrade the pool when a half-made dm device stays",
    "make-live.ts",
    "throw halfMade ? new UndoError(error, [error]) : outcomeOf(error);",
    "throw error;",
    { file: FAULTS },
  ),
  without(
    "resume an origin after its snapshot",
    "thin-maker.ts",
    '        await transition(states, origin, "resume", () => thins.resume(origin.uuid));\n',
    { file: FAULTS, name: "a resume that keeps failing" },
  ),
  instead(
    "wait for the kernel to let go of a thin device",
    "remove-retry.ts",
    "DELETE_RETRY: { readonly attempts: number } = { attempts: 5 }",
    "DELETE_RETRY: { readonly attempts: number } = { attempts: 1 }",
    inFile("faults.test.ts", "has not let go of yet"),
  ),
  instead(
    "take a thin device that is gone for deleted",
    "pool-device.ts",
    '(id)), DELETE_RETRY);\n    } catch (error) {\n      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;\n',
    "(id)), DELETE_RETRY);\n    } catch (error) {\n      throw error;\n",
    dying("^snapshot of an active origin: the process"),
  ),
  without(
    "undo a creation that failed",
    "thin-maker.ts",
    '          undo.push("deleting the thin device", () => this.#parts.pool.deleteThin(record.thinId));\n',
    inFile("group-commit.test.ts", "^of several snapshots"),
  ),
  instead(
    "refuse a ledger that is not of the metadata's moment",
    "recovery-plan.ts",
    "  if (current === last || current === last - 1n) return;\n",
    "  if (current !== undefined) return;\n",
    { file: FAULTS, name: "older than the ledger" },
  ),
  instead(
    "know the last transaction when the rows that named it are gone",
    "store/ledger.ts",
    '"UPDATE pool SET last_transaction_id = ? WHERE last_transaction_id < ?"',
    '"SELECT ?, ?"',
    inFile("store/ledger.test.ts", "the rows that named it go"),
  ),
];

export const MUTANTS: readonly Mutant[] = [
  ...FSYNCS,
  ...OPENING,
  ...RECOVERY,
  ...CUT_SHORT,
  ...GUARDS,
  ...GUARD_MUTANTS,
];
