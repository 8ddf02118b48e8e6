/**
 * Makes the files of an archive in a folder, with the rights of this process and nothing else: no owner
 * is set, no device node, pipe or set-id bit made. What an archive says of places is never believed: see
 * paths.ts and folders.ts.
 */
import { constants } from "node:fs";
import { chmod, link, lutimes, mkdir, open, symlink, unlink, utimes } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { syncFilesystem } from "@thinpool/thinpool";
import { quoted, readTar, refuseArchive } from "../tar/reader.ts";
import type { ReadEntry } from "../tar/reader.ts";
import { entryError, errnoNameOf } from "./errors.ts";
import { TreeRoot, at } from "./folders.ts";
import { treePath } from "./paths.ts";
import type { TreePath } from "./paths.ts";

/** More than the largest tree anybody has shown; each costs an inode. */
export const MAX_ENTRIES = 4_000_000;
/** Their modes and times are set at the end, so that many are kept in memory. */
export const MAX_FOLDERS = 200_000;
/** The longest target of a symlink. */
const MAX_TARGET_BYTES = 4095;
const SET_ID_BITS = 0o6000;
const MODE_BITS = 0o1777;
/** While a tree is being made nobody else has to see it; afterwards it is as the archive says. */
const UNFINISHED_FOLDER = 0o700;
const UNFINISHED_FILE = 0o600;
/** Of folders that the archive does not name. */
const DEFAULT_FOLDER = 0o755;

export interface Unpacked {
  readonly entries: number;
  /** Files that lost a set-id bit. */
  readonly withoutSetId: number;
}

export interface UnpackLimits {
  readonly entries: number;
  readonly folders: number;
}

/** What is set on a folder when all is in it. */
interface Finish {
  readonly mode: number;
  readonly mtimeSeconds: number | undefined;
}

/**
 * Unpacks into the folder at `root`, over what is there, and makes it durable. Throws RequestError:
 * ARCHIVE_REFUSED, NO_SPACE, FORBIDDEN, each with the entry's name; what was made until then is left.
 */
export async function unpackTree(
  root: string,
  chunks: AsyncIterable<Uint8Array>,
  limits: UnpackLimits = { entries: MAX_ENTRIES, folders: MAX_FOLDERS },
): Promise<Unpacked> {
  await using tree = await TreeRoot.open(root);
  const unpacker = new Unpacker(tree, limits);
  for await (const entry of readTar(chunks)) await unpacker.add(entry);
  await unpacker.finish();
  await syncFilesystem(tree.descriptor, root);
  return { entries: unpacker.entries, withoutSetId: unpacker.withoutSetId };
}

class Unpacker {
  readonly #tree: TreeRoot;
  readonly #limits: UnpackLimits;
  readonly #folders = new Map<string, Finish>();
  entries = 0;
  withoutSetId = 0;

  constructor(tree: TreeRoot, limits: UnpackLimits) {
    this.#tree = tree;
    this.#limits = limits;
  }

  async add(entry: ReadEntry): Promise<void> {
    this.entries += 1;
    if (this.entries > this.#limits.entries) {
      throw refuseArchive("the archive", `it has more than ${this.#limits.entries} entries`);
    }
    const place = treePath(entry.path);
    try {
      await this.#make(entry, place);
    } catch (error) {
      throw entryError(error, "unpack", entry.path);
    }
  }

  /** Modes and times of the folders, the inner ones first: one may be closed to its owner from then on. */
  async finish(): Promise<void> {
    const inner = [...this.#folders].toSorted(([a], [b]) => b.length - a.length);
    for (const [path, { mode, mtimeSeconds }] of inner) {
      try {
        const folder = at(await this.#tree.folder(path));
        if (mtimeSeconds !== undefined) await utimes(folder, mtimeSeconds, mtimeSeconds);
        await chmod(folder, mode);
      } catch (error) {
        throw entryError(error, "unpack", path);
      }
    }
  }

  async #make(entry: ReadEntry, place: TreePath): Promise<void> {
    const { type, mode, mtimeSeconds } = entry;
    if (type === "folder") {
      await this.#folder(place, { mode: mode & MODE_BITS, mtimeSeconds });
      return;
    }
    if (place.name === "") throw refuse(entry, "only a folder can be the top of a tree");
    switch (type) {
      case "file":
        await this.#file(entry, place);
        return;
      case "symlink":
        await this.#symlink(entry, place);
        return;
      case "hard link":
        await this.#hardLink(entry, place);
        return;
      case "device node":
      case "pipe":
        throw refuse(entry, `it is a ${type}`);
      case "unknown":
        throw refuse(entry, `it is of a kind that is not known (${quoted(entry.flag)})`);
    }
  }

  async #folder({ path, folder, name }: TreePath, finish: Finish): Promise<void> {
    if (name !== "") {
      const parent = await this.#parent(folder);
      try {
        await mkdir(at(parent, name), { mode: UNFINISHED_FOLDER });
      } catch (error) {
        if (errnoNameOf(error) !== "EEXIST") throw error;
      }
    }
    // Whatever was there already: it must be a folder, and no symlink to one.
    const made = await this.#tree.folder(path);
    // What was closed to its owner by an earlier entry, or in the origin, is opened until the end.
    await chmod(at(made), (finish.mode & MODE_BITS) | UNFINISHED_FOLDER);
    this.#remember(path, finish);
  }

  async #file(entry: ReadEntry, { folder, name }: TreePath): Promise<void> {
    const { mode, mtimeSeconds } = entry;
    const path = at(await this.#parent(folder), name);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await using file = await this.#replacing(path, () => open(path, flags, UNFINISHED_FILE));
    for await (const part of entry.body) await writeAll(file, part);
    if ((mode & SET_ID_BITS) !== 0) this.withoutSetId += 1;
    await file.chmod(mode & MODE_BITS);
    await file.utimes(mtimeSeconds, mtimeSeconds);
  }

  /** Made as it is written, wherever it leads: nothing here ever follows one. */
  async #symlink(entry: ReadEntry, { folder, name }: TreePath): Promise<void> {
    const { linkPath, mtimeSeconds } = entry;
    const bytes = Buffer.byteLength(linkPath);
    if (bytes === 0 || bytes > MAX_TARGET_BYTES) {
      throw refuse(entry, `it leads to a path of ${bytes} bytes`);
    }
    const path = at(await this.#parent(folder), name);
    await this.#replacing(path, () => symlink(linkPath, path));
    await lutimes(path, mtimeSeconds, mtimeSeconds);
  }

  /** To a file of the tree; a symlink is linked to as such. */
  async #hardLink(entry: ReadEntry, place: TreePath): Promise<void> {
    let target: TreePath;
    try {
      target = treePath(entry.linkPath);
    } catch {
      throw refuse(entry, `it is a hard link out of the tree, to ${quoted(entry.linkPath)}`);
    }
    if (target.name === "") throw refuse(entry, "it is a hard link to the top of the tree");
    if (target.path === place.path) throw refuse(entry, "it is a hard link to itself");
    const parent = await this.#parent(place.folder);
    // A descriptor of its own: looking for the other folder lets go of this one.
    await using beside = await open(at(parent), constants.O_RDONLY | constants.O_DIRECTORY);
    const path = at({ descriptor: beside.fd }, place.name);
    try {
      const from = at(await this.#tree.folder(target.folder), target.name);
      await this.#replacing(path, () => link(from, path));
    } catch (error) {
      const name = errnoNameOf(error);
      if (name !== "ENOENT" && name !== "EPERM") throw error;
      const what = name === "ENOENT" ? "is not in the archive before it" : "can't be linked to";
      throw refuse(entry, `${quoted(entry.linkPath)}, to which it is a hard link, ${what}`);
    }
  }

  /** A later entry takes an earlier one's place, as tar does it; never a folder's. */
  async #replacing<T>(path: string, make: () => Promise<T>): Promise<T> {
    try {
      return await make();
    } catch (error) {
      if (errnoNameOf(error) !== "EEXIST") throw error;
    }
    await unlink(path);
    return make();
  }

  async #parent(path: string): Promise<{ readonly descriptor: number }> {
    try {
      return await this.#tree.folder(path);
    } catch (error) {
      if (errnoNameOf(error) !== "ENOENT") throw error;
    }
    // Archives need not name the folders that their files are in.
    await this.#folder(treePath(path), { mode: DEFAULT_FOLDER, mtimeSeconds: undefined });
    return this.#tree.folder(path);
  }

  #remember(path: string, finish: Finish): void {
    this.#folders.set(path, finish);
    if (this.#folders.size > this.#limits.folders) {
      throw refuseArchive("the archive", `it has more than ${this.#limits.folders} folders`);
    }
  }
}

function refuse({ path }: ReadEntry, reason: string): Error {
  return refuseArchive(quoted(path), reason);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at_ = 0; at_ < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at_, bytes.length - at_);
    at_ += bytesWritten;
  }
}
