/**
 * The write-ahead log of a SQLite database, synced where nobody waits for it but who asked: COMMIT with
 * synchronous=FULL holds the event loop for as long as the disk takes. Under NORMAL it writes the log and
 * syncs nothing (https://sqlite.org/pragma.html#pragma_synchronous: such a commit may be lost with the power,
 * and leaves the database whole); one fdatasync of the log then makes it and all before it last.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { type OpenFile, syncByNode } from "@thinpool/dm-native";
import { isErrno } from "../errors-from-native.ts";
import { LedgerCommitError } from "./commit-error.ts";

/**
 * When SQLite copies the log into the database, to begin it anew (https://sqlite.org/wal.html#ckpt): some hundred
 * operations, which change the same few pages again and again. That holds the event loop for two flushes.
 */
const CHECKPOINT_PAGES = 256;
/** Of the commit that comes to so many, or passes it; a larger one makes the log grow. */
const LAST_COMMIT_PAGES = 64;
/** https://sqlite.org/fileformat2.html#walformat: a header, then each page with a header of its own. */
const LOG_BYTES = 32 + (CHECKPOINT_PAGES + LAST_COMMIT_PAGES) * (24 + 4096);
const ZEROS_BYTES = 256 * 1024;

export class WalFile implements Disposable {
  /** Undefined: a database in memory, of which nothing lasts. */
  readonly file: OpenFile | undefined;
  readonly #database: DatabaseSync;
  #failure: LedgerCommitError | undefined;
  #syncing = 0;
  #disposed = false;
  #closed = false;

  /** Of a database in WAL mode from which something has been read or written: its log is there then. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    database.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    const path = database.location();
    if (path === null) return;
    const wal = `${path}-wal`;
    const fd = openSync(wal, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      fillUp(fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.file = { fd, path: wal };
  }

  /** Commits of `body` sync nothing: what they wrote lasts after `sync`, and is read before that. */
  unsynced(body: () => void): void {
    this.assertSound();
    this.#database.exec("PRAGMA synchronous = NORMAL");
    try {
      body();
    } finally {
      this.#database.exec("PRAGMA synchronous = FULL");
    }
  }

  /** All commits that were made before last when it resolves. Rejects with LedgerCommitError. */
  async sync(): Promise<void> {
    this.assertSound();
    if (this.file === undefined) return;
    this.#syncing += 1;
    const failure = await syncByNode(this.file).finally(() => {
      this.#syncing -= 1;
      this.#closeIfDone();
    });
    if (failure !== undefined) throw this.failed(failure);
    // Another's may have failed meanwhile, and the kernel tells a descriptor only once.
    this.assertSound();
  }

  /** A sync of it failed. No later one tells whether what was written before lasts: all are refused. */
  failed(cause: unknown): LedgerCommitError {
    this.#failure ??= new LedgerCommitError(this.file?.path ?? "memory", cause);
    return this.#failure;
  }

  /** Throws once a sync has failed. */
  assertSound(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Not under a sync of its own on its way: its number would be another file's. Who syncs `file` himself has
   * ended before.
   */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (!this.#disposed || this.#closed || this.#syncing > 0 || this.file === undefined) return;
    // Once: its number is another file's from then on.
    this.#closed = true;
    closeSync(this.file.fd);
  }
}

/**
 * Gives the log its full size, in zeros, which SQLite takes for its end (their salts are not its header's). What
 * is written over later changes no size and takes no block: the filesystem has nothing of its own to write down
 * then, so that an fdatasync is one flush and not two, and a commit needs no room that a full host may lack.
 * Where there is no room now the log grows with each commit, as it would by itself.
 */
function fillUp(fd: number): void {
  const zeros = Buffer.alloc(ZEROS_BYTES);
  try {
    for (let at = fstatSync(fd).size; at < LOG_BYTES;) {
      at += writeSync(fd, zeros, 0, Math.min(ZEROS_BYTES, LOG_BYTES - at), at);
    }
    fdatasyncSync(fd);
  } catch (error) {
    if (!isErrno(error, "ENOSPC") && !isErrno(error, "EDQUOT")) throw error;
  }
}

/**
 * Before anybody acts on what is read of the database: a process that died between a commit and its sync left
 * a WAL that is read as committed, and may yet be lost with the power (INV-3). And a new one's name lasts: a
 * sync of the file alone does not promise that.
 */
export function syncWal(path: string): void {
  for (const left of [`${path}-wal`, dirname(path)]) {
    let file: number;
    try {
      file = openSync(left, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      throw error;
    }
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }
}
