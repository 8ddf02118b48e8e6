/** Backups in the pool's folder: a dump of the metadata, and the ledger of the same moment beside it. */
import { mkdir, open, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "../errors-from-native.ts";
import { type FolderPaths, removeFile, syncFile, syncFolder } from "../folder.ts";

export const DEFAULT_BACKUPS_KEPT = 8;
export const MAX_BACKUPS_KEPT = 1000;
/** `20261125T070656123Z-t42`: when, and the pool's transaction. Their order is that in which they were made. */
const NAME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-t(\d{1,20})$/;
const DUMP_SUFFIX = ".xml";
const LEDGER_SUFFIX = ".sqlite";
const PARTIAL_SUFFIX = ".partial";

export interface Backup {
  readonly name: string;
  readonly atMs: number;
  readonly transactionId: bigint;
  readonly sizeBytes: bigint;
}

export interface BackupPaths {
  readonly dump: string;
  readonly ledger: string;
}

function backupFolder(paths: FolderPaths): string {
  return join(paths.folder, "backups");
}

export function backupPaths(paths: FolderPaths, name: string): BackupPaths {
  const base = join(backupFolder(paths), name);
  return { dump: base + DUMP_SUFFIX, ledger: base + LEDGER_SUFFIX };
}

/** The same under names that do not count yet; the folder exists afterwards, without older ones. */
export async function stageBackup(paths: FolderPaths): Promise<BackupPaths> {
  const folder = backupFolder(paths);
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) {
    await syncFolder(paths.folder);
  }
  const names = await readdir(folder);
  for (const name of names) {
    if (name.endsWith(PARTIAL_SUFFIX) || isHalf(name, names)) await removeFile(join(folder, name));
  }
  const base = join(folder, "new");
  const ledger = base + LEDGER_SUFFIX + PARTIAL_SUFFIX;
  // Empty, for SQLite to fill: else it would have the mode that the umask gives.
  await (await open(ledger, "wx", 0o600)).close();
  return { dump: base + DUMP_SUFFIX + PARTIAL_SUFFIX, ledger };
}

/** A ledger without its dump: a death came between the two, when they were named or removed. */
function isHalf(name: string, names: readonly string[]): boolean {
  if (!name.endsWith(LEDGER_SUFFIX)) return false;
  const backup = name.slice(0, -LEDGER_SUFFIX.length);
  return NAME.test(backup) && !names.includes(backup + DUMP_SUFFIX);
}

/** Makes the staged backup count, durably: the dump is named last, and a backup is what has one. */
export async function nameBackup(
  paths: FolderPaths,
  staged: BackupPaths,
  moment: { readonly atMs: number; readonly transactionId: bigint },
): Promise<Backup> {
  const { transactionId } = moment;
  // Behind the newest also where the clock was set back: else it would be the first to be removed.
  const newestMs = (await listBackupFiles(paths))[0]?.atMs ?? 0;
  const atMs = Math.max(moment.atMs, newestMs + 1);
  const time = new Date(atMs).toISOString().replaceAll(/[-:.]/g, "");
  const name = `${time}-t${transactionId}`;
  const target = backupPaths(paths, name);
  await syncFile(staged.ledger);
  await rename(staged.ledger, target.ledger);
  await rename(staged.dump, target.dump);
  await syncFolder(backupFolder(paths));
  return describe(paths, name, { atMs, transactionId });
}

/** Removes all but the newest `keep`. */
export async function pruneBackups(paths: FolderPaths, keep: number): Promise<void> {
  for (const { name } of (await listBackupFiles(paths)).slice(keep)) {
    const { dump, ledger } = backupPaths(paths, name);
    await removeFile(dump);
    await removeFile(ledger);
  }
}

/** The newest first. */
export async function listBackupFiles(paths: FolderPaths): Promise<readonly Backup[]> {
  const names = (await readNames(backupFolder(paths)))
    .filter((name) => name.endsWith(DUMP_SUFFIX))
    .map((name) => name.slice(0, -DUMP_SUFFIX.length))
    .toSorted()
    .toReversed();
  const backups: Backup[] = [];
  for (const name of names) {
    const parts = NAME.exec(name);
    if (parts === null) continue;
    const [, year, month, day, hour, minute, second, milli, transaction = "0"] = parts;
    const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`;
    const moment = { atMs: Date.parse(iso), transactionId: BigInt(transaction) };
    try {
      backups.push(await describe(paths, name, moment));
    } catch (error) {
      // The pool's daemon has made a newer one since its name was read, and removed this one.
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
  return backups;
}

async function readNames(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

async function describe(
  paths: FolderPaths,
  name: string,
  moment: { readonly atMs: number; readonly transactionId: bigint },
): Promise<Backup> {
  const { dump, ledger } = backupPaths(paths, name);
  const sizes = await Promise.all([dump, ledger].map((path) => stat(path, { bigint: true })));
  return { name, ...moment, sizeBytes: sizes.reduce((sum, { size }) => sum + size, 0n) };
}
