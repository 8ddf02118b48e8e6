/**
 * A folder on a disk with a volatile cache: what is durable is what was synced, as POSIX promises it
 * and not more. A file's bytes last by fsync of the file, its name by fsync of its folder, a commit
 * of SQLite by the fsync of the WAL that `synchronous` makes it do. A power cut keeps the rest or not,
 * each piece for itself, as the seed says; of a rename both names or neither, as filesystems with a
 * journal do.
 */
import { basename, dirname, join } from "node:path";
import { real } from "./intercept.ts";
import type { Random } from "./random.ts";

/** Larger files are images of the pool's devices: their bytes are the simulated kernel's. */
const IMAGE_BYTES = 1 << 20;
/** SQLite's `synchronous` from which on a commit syncs the WAL (FULL). */
const FULL = 2;
/** https://sqlite.org/fileformat2.html#walformat */
const WAL_HEADER_BYTES = 32;
const WAL_SALTS = { at: 16, bytes: 8 };
const FRAME_HEADER_BYTES = 24;
const FRAME_SALTS_AT = 8;
const FRAME_BYTES = FRAME_HEADER_BYTES + 4096;

interface Entry {
  readonly folder: boolean;
  readonly inode: number;
}

function isWal(name: string): boolean {
  return name.endsWith("-wal");
}

/** Where what was written of a log since it was begun anew ends; what comes behind is of no meaning. */
function walEnd(path: string): number {
  const file = real.openSync(path, "r");
  try {
    const read = (at: number, bytes: number): Buffer => {
      const part = Buffer.alloc(bytes);
      return part.subarray(0, real.readSync(file, part, 0, bytes, at));
    };
    const salts = read(WAL_SALTS.at, WAL_SALTS.bytes);
    // Not yet begun.
    if (salts.length < WAL_SALTS.bytes || salts.every((byte) => byte === 0)) return 0;
    let end = WAL_HEADER_BYTES;
    while (read(end + FRAME_SALTS_AT, WAL_SALTS.bytes).equals(salts)) end += FRAME_BYTES;
    return end;
  } finally {
    real.closeSync(file);
  }
}

export class VolatileFiles {
  /** Holds `pool`, the folder under test. */
  readonly #parent: string;
  /** Hard links to every file that has a durable name, by inode. */
  readonly #kept: string;
  readonly #next: string;
  /** Durable names by folder. */
  #names = new Map<string, Map<string, Entry>>();
  /** Durable sizes of images, ends of WALs, and bytes of small files, by inode. */
  #sizes = new Map<number, number>();
  #bytes = new Map<number, Buffer>();
  /** Renames since the last sync of the folder that they were in. */
  #renames: { readonly folder: string; readonly from: string; readonly to: string }[] = [];
  /**
   * SQLite's own, by inode: a database changes by checkpoints only, which sync it before they end. What is
   * made of one and put in its place is a file like any other until SQLite commits to it there.
   */
  #databases = new Set<number>();

  constructor(base: string) {
    this.#parent = join(base, "disk");
    this.#kept = join(base, "kept");
    this.#next = join(base, "next");
    for (const path of [base, this.#parent, this.#kept]) real.mkdirSync(path, { mode: 0o700 });
  }

  get parent(): string {
    return this.#parent;
  }

  get folder(): string {
    return join(this.#parent, "pool");
  }

  synced(path: string): void {
    const stat = real.statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (stat.isDirectory()) this.#syncNames(path);
    else this.#syncBytes(path, stat.ino, stat.size);
  }

  renamed(from: string, to: string): void {
    const folder = dirname(from);
    if (folder === dirname(to)) {
      this.#renames.push({ folder, from: basename(from), to: basename(to) });
    }
  }

  closing(database: string): void {
    const wal = real.statSync(`${database}-wal`, { throwIfNoEntry: false });
    if (wal === undefined) return;
    this.#sizes.set(wal.ino, walEnd(`${database}-wal`));
    this.#own(database);
  }

  #own(database: string): void {
    if (database.endsWith(".sqlite")) this.#databases.add(real.statSync(database).ino);
  }

  committed(database: string, synchronous: number): void {
    const wal = real.statSync(`${database}-wal`, { throwIfNoEntry: false });
    if (wal === undefined) return;
    this.#own(database);
    // os_unix.c: the first sync of a new WAL syncs the folder that it lies in. wal.c: that is the sync of its
    // header, under NORMAL as well.
    const known = this.#names.get(dirname(database))?.get(basename(`${database}-wal`));
    const isNew = known?.inode !== wal.ino;
    if (isNew) this.#syncNames(dirname(database));
    if (synchronous >= FULL) this.#sizes.set(wal.ino, walEnd(`${database}-wal`));
    else if (isNew) this.#sizes.set(wal.ino, WAL_HEADER_BYTES);
  }

  /** The power is cut now: prepares what the disk holds afterwards. The process may still run on. */
  cut(random: Random): void {
    real.mkdirSync(this.#next, { mode: 0o700 });
    this.#survive(this.#parent, this.#next, random);
  }

  /** The machine starts again with what survived. */
  restart(): void {
    real.rmSync(this.#parent, { recursive: true });
    real.renameSync(this.#next, this.#parent);
    this.#names = new Map();
    this.#sizes = new Map();
    this.#bytes = new Map();
    this.#renames = [];
    this.#databases = new Set();
    real.rmSync(this.#kept, { recursive: true });
    real.mkdirSync(this.#kept, { mode: 0o700 });
    this.#syncAll(this.#parent);
  }

  #syncAll(folder: string): void {
    this.#syncNames(folder);
    for (const [name, entry] of this.#names.get(folder) ?? []) {
      const path = join(folder, name);
      if (name.endsWith(".sqlite")) this.#databases.add(entry.inode);
      if (entry.folder) this.#syncAll(path);
      else this.#syncBytes(path, entry.inode, real.statSync(path).size);
    }
  }

  #syncNames(folder: string): void {
    const before = this.#names.get(folder);
    this.#renames = this.#renames.filter((rename) => rename.folder !== folder);
    const now = new Map<string, Entry>();
    for (const [name, entry] of listed(folder)) {
      now.set(name, entry);
      if (!entry.folder && before?.get(name)?.inode !== entry.inode) {
        const link = join(this.#kept, String(entry.inode));
        if (!real.existsSync(link)) real.linkSync(join(folder, name), link);
      }
    }
    this.#names.set(folder, now);
  }

  #syncBytes(path: string, inode: number, size: number): void {
    this.#sizes.set(inode, isWal(path) ? walEnd(path) : size);
    if (size < IMAGE_BYTES && !isWal(path) && !this.#databases.has(inode)) {
      this.#bytes.set(inode, real.readFileSync(path));
    }
  }

  #survive(from: string, to: string, random: Random): void {
    const durable = this.#names.get(from) ?? new Map<string, Entry>();
    const now = real.existsSync(from) ? listed(from) : new Map<string, Entry>();
    const renames = this.#renames.filter(({ folder }) => folder === from);
    const lasted = new Map<string, boolean>();
    const decide = (name: string, lasts: boolean): boolean => {
      if (lasted.has(name)) return lasts;
      lasted.set(name, lasts);
      for (const rename of renames) {
        if (rename.from === name) decide(rename.to, lasts);
        if (rename.to === name) decide(rename.from, lasts);
      }
      return lasts;
    };
    for (const name of new Set([...durable.keys(), ...now.keys()])) {
      const [old, young] = [durable.get(name), now.get(name)];
      const changed = old?.inode !== young?.inode;
      const entry = changed && (lasted.get(name) ?? decide(name, random.chance(50))) ? young : old;
      if (entry === undefined) continue;
      const source = entry.inode === young?.inode ? join(from, name) : this.#keptPath(entry);
      if (entry.folder) {
        real.mkdirSync(join(to, name), { mode: 0o700 });
        this.#survive(join(from, name), join(to, name), random);
      } else this.#surviveFile(name, entry.inode, source, join(to, name), random);
    }
  }

  #surviveFile(name: string, inode: number, from: string, to: string, random: Random): void {
    const size = real.statSync(from).size;
    const durable = this.#sizes.get(inode) ?? 0;
    if (isWal(name)) {
      real.copyFileSync(from, to);
      const end = walEnd(from);
      const least = Math.min(durable, end);
      if (random.chance(30)) return;
      // Its room is there already: what did not come to the disk is zeros there.
      const lost = least + random.below(end - least + 1);
      const file = real.openSync(to, "r+");
      real.writeSync(file, Buffer.alloc(end - lost), 0, end - lost, lost);
      real.closeSync(file);
    } else if (this.#databases.has(inode)) {
      real.copyFileSync(from, to);
    } else if (size < IMAGE_BYTES && durable < IMAGE_BYTES) {
      const bytes = this.#bytes.get(inode) ?? Buffer.alloc(0);
      real.writeFileSync(to, random.chance(50) ? bytes : real.readFileSync(from), { mode: 0o600 });
    } else {
      // By its inode a loop knows it. A size that was not synced is lost or not.
      real.linkSync(from, to);
      if (durable !== size && random.chance(50)) real.truncateSync(to, durable);
    }
  }

  #keptPath(entry: Entry): string {
    return join(this.#kept, String(entry.inode));
  }
}

function listed(folder: string): Map<string, Entry> {
  const found = new Map<string, Entry>();
  for (const name of real.readdirSync(folder)) {
    const stat = real.lstatSync(join(folder, name));
    found.set(name, { folder: stat.isDirectory(), inode: stat.ino });
  }
  return found;
}
