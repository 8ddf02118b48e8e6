/**
 * Devices given out as block devices, for a virtual machine's disk: a node of the user's own at
 * ROOT/POOL/UID/DEVICE. ROOT is below /dev: elsewhere a node is none (mount option nodev). Several pools'
 * daemons share it; POOL is the pool's uuid, and what lies below it is this pool's alone.
 *
 * All folders are root's. A node that its user could move or link would be one of another's device, once
 * that has the number; and between making a node and giving it away nobody may put a link in its place.
 */
import { readdir, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DevNumber, Kernel } from "@thinpool/thinpool";
import { NativeError } from "@thinpool/thinpool";
import { type FolderOwner, checkAncestors, ensureFolder, hasCode, self } from "./folders.ts";

/** Whoever may open a node knows its name; others do not learn of it. */
const FOLDER_MODE = 0o711;
const READ_WRITE = 0o600;
const READ_ONLY = 0o400;

export class BlockNodes {
  readonly #root: string;
  /** The pool's own. */
  readonly #folder: string;
  readonly #kernel: Kernel;

  constructor(root: string, poolUuid: string, kernel: Kernel) {
    this.#root = root;
    this.#folder = join(root, poolUuid);
    this.#kernel = kernel;
  }

  pathOf(uid: number, device: string): string {
    return join(this.#folder, String(uid), device);
  }

  /** Makes the node, in place of one that was left there. */
  async give(
    path: string,
    node: { readonly dev: DevNumber; readonly owner: FolderOwner; readonly readOnly: boolean },
  ): Promise<void> {
    const { dev, owner, readOnly } = node;
    await checkAncestors(this.#root);
    for (const folder of [this.#root, this.#folder, dirname(path)])
      await ensureFolder(folder, FOLDER_MODE, self());
    await this.takeBack(path);
    const mode = readOnly ? READ_ONLY : READ_WRITE;
    await this.#kernel.blocks.makeNode(path, { dev, ...owner, mode });
  }

  /** False where there was none. */
  takeBack(path: string): Promise<boolean> {
    return this.#kernel.blocks.removeNode(path);
  }

  /**
   * Takes every node of this pool away that is not among `known`, and the folders that are empty then; the
   * nodes' paths. One that was left would be its user's way to whichever device gets its number next.
   */
  async sweep(known: ReadonlySet<string>): Promise<readonly string[]> {
    const swept: string[] = [];
    for (const user of await this.#userFolders()) {
      for (const name of await this.#kernel.blocks.nodesIn(user)) {
        const path = join(user, name);
        if (!known.has(path) && (await this.takeBack(path))) swept.push(path);
      }
      await removeIfEmpty(user);
    }
    await removeIfEmpty(this.#folder);
    return swept;
  }

  async #userFolders(): Promise<readonly string[]> {
    try {
      const entries = await readdir(this.#folder, { withFileTypes: true });
      // That they are no symlinks, and root's alone.
      await checkAncestors(join(this.#folder, "any"));
      const folders = entries.filter((entry) => entry.isDirectory());
      return folders.map(({ name }) => join(this.#folder, name)).toSorted();
    } catch (error) {
      if (hasCode(error, "ENOENT")) return [];
      throw error;
    }
  }

  /** Of which device the node is; undefined where there is none. */
  async devOf(path: string): Promise<DevNumber | undefined> {
    try {
      return await this.#kernel.blocks.number(path);
    } catch (error) {
      if (error instanceof NativeError && error.code === "NATIVE_NOT_FOUND") return undefined;
      throw error;
    }
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTEMPTY")) throw error;
  }
}
