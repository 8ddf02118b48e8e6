/** Writes the files of a folder as an archive: in the order of their names, so that the same tree is the same stream. */
import { constants } from "node:fs";
import type { Stats } from "node:fs";
import { lstat, open, opendir, readlink } from "node:fs/promises";
import { RequestError } from "../errors.ts";
import { paddingOf } from "../tar/entry.ts";
import { quoted } from "../tar/reader.ts";
import { TAR_END, tarHeader } from "../tar/writer.ts";
import { entryError } from "./errors.ts";
import { TreeRoot, at } from "./folders.ts";
import type { Pinned } from "./folders.ts";

/** Names of one folder are sorted in memory. */
export const MAX_NAMES_PER_FOLDER = 500_000;
/** Files with several names whose first one is remembered; further ones are written as files of their own. */
const MAX_LINKED_FILES = 200_000;
const READ_BYTES: number = 256 * 1024;
const MODE_BITS = 0o1777;
const MS_PER_SECOND = 1000;
/** Belongs to the filesystem, not to the tree. */
const LOST_AND_FOUND = "lost+found";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export interface Packed {
  readonly entries: number;
  /** Device nodes, sockets and pipes. */
  readonly left: number;
}

/** The archive; what it returns at its end is how much there was. Throws RequestError with the entry's name. */
export async function* packTree(root: string): AsyncGenerator<Uint8Array, Packed, undefined> {
  await using tree = await TreeRoot.open(root);
  const packer = new Packer(tree);
  yield* packer.folder("");
  yield TAR_END;
  return { entries: packer.entries, left: packer.left };
}

class Packer {
  readonly #tree: TreeRoot;
  /** By inode: the first name of files that have several. */
  readonly #linked = new Map<number, string>();
  entries = 0;
  left = 0;

  constructor(tree: TreeRoot) {
    this.#tree = tree;
  }

  /** What is in it, and below. */
  async *folder(path: string): AsyncGenerator<Uint8Array, void, undefined> {
    for (const name of await this.#names(path)) {
      if (path === "" && name === LOST_AND_FOUND) continue;
      const inner = path === "" ? name : `${path}/${name}`;
      try {
        yield* this.#entry(inner, path, name);
      } catch (error) {
        throw entryError(error, "pack", inner);
      }
    }
  }

  async *#entry(
    path: string,
    folder: string,
    name: string,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const parent = await this.#tree.folder(folder);
    const stat = await lstat(at(parent, name));
    const common = { path, linkPath: "", sizeBytes: 0, ...attributesOf(stat) };
    if (stat.isDirectory()) {
      this.entries += 1;
      yield tarHeader({ ...common, type: "folder", path: `${path}/` });
      yield* this.folder(path);
      return;
    }
    if (!stat.isFile() && !stat.isSymbolicLink()) {
      this.left += 1;
      return;
    }
    this.entries += 1;
    const first = this.#firstName(stat, path);
    if (first !== undefined) {
      yield tarHeader({ ...common, type: "hard link", linkPath: first });
    } else if (stat.isSymbolicLink()) {
      const target = await readlink(at(parent, name), { encoding: "buffer" });
      yield tarHeader({ ...common, type: "symlink", linkPath: decoded(target, path) });
    } else yield* this.#file(parent, name, path);
  }

  async *#file(
    parent: Pinned,
    name: string,
    path: string,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    // O_NONBLOCK: should it have become a pipe meanwhile, it is not waited for.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    await using file = await open(at(parent, name), flags);
    const stat = await file.stat();
    if (!stat.isFile()) throw changed(path);
    const { size: sizeBytes } = stat;
    yield tarHeader({ type: "file", path, linkPath: "", sizeBytes, ...attributesOf(stat) });
    for (let offset = 0; offset < sizeBytes;) {
      // A buffer of its own for each: who takes it keeps it.
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, sizeBytes - offset));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) throw changed(path);
      offset += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
    const padding = paddingOf(sizeBytes);
    if (padding > 0) yield new Uint8Array(padding);
  }

  async #names(path: string): Promise<readonly string[]> {
    const names: string[] = [];
    try {
      const folder = at(await this.#tree.folder(path));
      // The names as bytes: what is no UTF-8 is refused rather than written as something else.
      const entries = await opendir(folder, { encoding: "buffer" as BufferEncoding });
      for await (const { name } of entries) {
        names.push(decoded(name as unknown as Buffer, path));
        if (names.length > MAX_NAMES_PER_FOLDER) {
          const reason = `it has more than ${MAX_NAMES_PER_FOLDER} entries`;
          throw unsupported(path, reason);
        }
      }
    } catch (error) {
      throw entryError(error, "pack", path);
    }
    return names.toSorted();
  }

  #firstName({ nlink, ino }: Stats, path: string): string | undefined {
    if (nlink < 2) return undefined;
    const first = this.#linked.get(ino);
    if (first === undefined && this.#linked.size < MAX_LINKED_FILES) this.#linked.set(ino, path);
    return first;
  }
}

function attributesOf({ mode, mtimeMs }: Stats): { mode: number; mtimeSeconds: number } {
  return { mode: mode & MODE_BITS, mtimeSeconds: mtimeMs / MS_PER_SECOND };
}

function decoded(bytes: Uint8Array, path: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw unsupported(path, "a name or link there is not UTF-8");
  }
}

function unsupported(path: string, reason: string): RequestError {
  const object = quoted(path);
  const hint = "Mount the device and pack it with tar.";
  return new RequestError({ code: "UNSUPPORTED", operation: "pack", object, reason, hint });
}

function changed(path: string): RequestError {
  const [object, reason] = [quoted(path), "it changed while it was read"];
  const hint = "Leave the snapshot alone while it is exported.";
  return new RequestError({ code: "BUSY", operation: "pack", object, reason, hint });
}
