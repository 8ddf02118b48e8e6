/**
 * The process under test sees the machine through Node's built-in modules: this puts a world between
 * them, so that it can die at any of its file calls and SQLite commits, and so that what it did not
 * sync can be dropped at a power cut.
 *
 * File calls become synchronous, waits take no time, clock and UUIDs are the world's own: then the
 * order of everything comes from the seed alone.
 */
import crypto from "node:crypto";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync, StatementSync } from "node:sqlite";
import timers from "node:timers/promises";

export interface ProcessWorld {
  /** Whether calls with this path belong to the process under test. */
  owns(path: string): boolean;
  /** A boundary of a call; throws where the process dies there or the call is to fail. */
  point(phase: "before" | "after", call: string): void;
  /** fsync of a file or folder has ended. */
  synced(path: string): void;
  /** rename(2) has ended. */
  renamed(from: string, to: string): void;
  /** Who died runs on in here, but nothing that it does counts any more. */
  readonly dead: string | undefined;
  /** A database is about to be closed: SQLite syncs its WAL, copies it into the database, removes it. */
  closing(database: string): void;
  /** A COMMIT has ended; `synchronous` is SQLite's own setting: 2 and more sync the WAL. */
  committed(database: string, synchronous: number): void;
  readonly nowMs: number;
  sleep(ms: number): void;
  uuid(): `${string}-${string}-${string}-${string}-${string}`;
}

/** Node's own functions as they were: the worlds themselves use these. */
export const real: typeof fs = { ...fs };

let current: ProcessWorld | undefined;

/** From now on calls go through this world. */
export function enter(world: ProcessWorld | undefined): void {
  current = world;
}

type Anything = (...args: never[]) => unknown;

function replace(module: object, name: string, make: (original: Anything) => Anything): void {
  const original = Reflect.get(module, name) as unknown;
  if (typeof original !== "function") throw new TypeError(`there is no ${name} to replace`);
  Reflect.set(module, name, make(original as Anything));
}

function around<T>(call: string, path: unknown, run: () => T, to?: unknown): T {
  const world = typeof path === "string" && current?.owns(path) === true ? current : undefined;
  world?.point("before", call);
  const result = run();
  if (call === "rename" && typeof path === "string") world?.renamed(path, String(to));
  world?.point("after", call);
  return result;
}

function sync(path: string, run: () => void): void {
  const world = current?.owns(path) === true ? current : undefined;
  world?.point("before", "fsync");
  run();
  world?.synced(path);
  world?.point("after", "fsync");
}

const CHANGING =
  "unlink rmdir rm mkdir rename truncate chmod link symlink writeFile appendFile copyFile".split(
    " ",
  );
const READING = "lstat stat realpath readdir readFile access statfs readlink".split(" ");

/** What node:fs/promises gives for an open file, by synchronous calls. */
class Handle {
  readonly fd: number;
  readonly #path: string;

  constructor(fd: number, path: string) {
    this.fd = fd;
    this.#path = path;
  }

  async sync(): Promise<void> {
    sync(this.#path, () => real.fsyncSync(this.fd));
  }

  async datasync(): Promise<void> {
    return this.sync();
  }

  async truncate(length?: number): Promise<void> {
    around("ftruncate", this.#path, () => real.ftruncateSync(this.fd, length));
  }

  async stat(options?: fs.StatOptions): Promise<fs.Stats | fs.BigIntStats> {
    return real.fstatSync(this.fd, options);
  }

  async chmod(mode: number): Promise<void> {
    around("fchmod", this.#path, () => real.fchmodSync(this.fd, mode));
  }

  async read(buffer: Buffer, offset: number, length: number, position: number) {
    return { bytesRead: real.readSync(this.fd, buffer, offset, length, position), buffer };
  }

  async readFile(encoding?: BufferEncoding): Promise<string | Buffer> {
    const bytes = real.readFileSync(this.fd);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  }

  async write(buffer: Uint8Array, offset?: number, length?: number, position?: number) {
    return around("write", this.#path, () => ({
      bytesWritten: real.writeSync(this.fd, buffer, offset, length, position),
      buffer,
    }));
  }

  async writeFile(data: string | Uint8Array): Promise<void> {
    around("write", this.#path, () => real.writeFileSync(this.fd, data));
  }

  async close(): Promise<void> {
    real.closeSync(this.fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function replaceFiles(): void {
  for (const name of [...CHANGING, ...READING]) {
    const run = Reflect.get(real, `${name}Sync`) as Anything;
    const changes = CHANGING.includes(name);
    const call: Anything = (...args) =>
      changes ? around(name, args[0], () => run(...args), args[1]) : run(...args);
    replace(
      fs.promises,
      name,
      (original) =>
        // Paths of nobody's world keep Node's own way: the soak itself may use it.
        async (...args: never[]) =>
          typeof args[0] === "string" && current?.owns(args[0]) === true
            ? call(...args)
            : original(...args),
    );
    if (changes) replace(fs, `${name}Sync`, () => call);
  }
  replace(fs.promises, "open", (original) => async (...args: never[]) => {
    const [path, flags, mode] = args as unknown as [string, fs.OpenMode?, fs.Mode?];
    if (typeof path !== "string" || current?.owns(path) !== true) return original(...args);
    return around("open", path, () => new Handle(real.openSync(path, flags ?? "r", mode), path));
  });
  for (const name of ["fsyncSync", "fdatasyncSync"]) {
    replace(
      fs,
      name,
      (original) =>
        (...args: never[]) =>
          sync(real.readlinkSync(`/proc/self/fd/${String(args[0])}`), () => void original(...args)),
    );
  }
}

function replaceSyncsWithCallback(): void {
  replace(fs, "fdatasync", (original) => (...args: never[]) => {
    const [fd, done] = args as unknown as [number, (error: unknown) => void];
    const path = real.readlinkSync(`/proc/self/fd/${fd}`);
    if (current?.owns(path) !== true) {
      original(...args);
      return;
    }
    let failure: unknown = null;
    try {
      sync(path, () => real.fdatasyncSync(fd));
    } catch (error) {
      failure = error;
    }
    queueMicrotask(() => done(failure));
  });
}

function replaceCommits(): void {
  const databases = new WeakMap<StatementSync, DatabaseSync>();
  const settings = new WeakMap<DatabaseSync, StatementSync>();
  const commit = <T>(db: DatabaseSync, run: () => T): T => {
    const path = db.location();
    const world = path !== null && current?.owns(path) === true ? current : undefined;
    if (world === undefined || path === null) return run();
    try {
      world.point("before", "COMMIT");
    } catch (error) {
      // A commit that the disk refuses is rolled back by SQLite itself.
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
    const result = run();
    // Its pages are in the WAL, and not synced yet.
    world.point("after", "COMMIT");
    const setting = settings.get(db) ?? db.prepare("PRAGMA synchronous");
    settings.set(db, setting);
    world.committed(path, Number(setting.get()?.["synchronous"]));
    world.point("after", "COMMIT");
    return result;
  };
  replace(
    DatabaseSync.prototype,
    "prepare",
    (original) =>
      function (this: DatabaseSync, ...args: never[]) {
        const statement = original.apply(this, args) as StatementSync;
        databases.set(statement, this);
        return statement;
      },
  );
  replace(
    DatabaseSync.prototype,
    "exec",
    (original) =>
      function (this: DatabaseSync, ...args: never[]) {
        const run = (): unknown => original.apply(this, args);
        return /\bCOMMIT\b/i.test(String(args[0])) ? commit(this, run) : run();
      },
  );
  replace(
    DatabaseSync.prototype,
    "close",
    (original) =>
      function (this: DatabaseSync, ...args: never[]) {
        const path = this.location();
        const close = (): unknown => original.apply(this, args);
        if (path === null || current?.owns(path) !== true) return close();
        if (current.dead !== undefined) return asItWas(path, close);
        current.closing(path);
        return close();
      },
  );
  replace(
    StatementSync.prototype,
    "run",
    (original) =>
      function (this: StatementSync, ...args: never[]) {
        const db = databases.get(this);
        const run = (): unknown => original.apply(this, args);
        // Outside a transaction every statement that writes is its own commit.
        return db === undefined || db.isTransaction ? run() : commit(db, run);
      },
  );
}

/** A dead process closes nothing: its WAL is still there, and the database has nothing of it. */
function asItWas(database: string, close: () => unknown): unknown {
  const wal = `${database}-wal`;
  const kept = `${database}-left-wal`;
  if (!real.existsSync(wal) || !real.existsSync(database)) return close();
  const bytes = real.readFileSync(database);
  real.linkSync(wal, kept);
  try {
    return close();
  } finally {
    real.rmSync(wal, { force: true });
    real.renameSync(kept, wal);
    real.writeFileSync(database, bytes, { flag: "r+" });
    real.truncateSync(database, bytes.length);
  }
}

/** Once per process or worker, before anything under test runs. */
export function install(): void {
  replaceFiles();
  replaceSyncsWithCallback();
  replaceCommits();
  replace(timers, "setTimeout", (original) => async (...args: never[]) => {
    if (current === undefined) return original(...args);
    const [delayMs, value] = args as unknown as [number, unknown];
    const signal = (args[2] as { signal?: AbortSignal } | undefined)?.signal;
    signal?.throwIfAborted();
    current.sleep(delayMs);
    await Promise.resolve();
    signal?.throwIfAborted();
    return value;
  });
  replace(
    crypto,
    "randomUUID",
    (original) =>
      (...args: never[]) =>
        current === undefined ? original(...args) : current.uuid(),
  );
  replace(Date, "now", (original) => () => current?.nowMs ?? original());
  syncBuiltinESMExports();
}
