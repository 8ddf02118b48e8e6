/**
 * Devices given out as block devices, for a virtual machine's disk: a node of the user's own at
 * ROOT/UID/DEVICE. ROOT is below /dev: elsewhere a node is none (mount option nodev).
 *
 * All folders are root's. A node that its user could move or link would be one of another's device, once
 * that has the number; and between making a node and giving it away nobody may put a link in its place.
 */
import { dirname, join } from "node:path";
import type { DevNumber, Kernel } from "@thinpool/thinpool";
import { NativeError } from "@thinpool/thinpool";
import { type FolderOwner, checkAncestors, ensureFolder, self } from "./folders.ts";

/** Whoever may open a node knows its name; others do not learn of it. */
const FOLDER_MODE = 0o711;
const READ_WRITE = 0o600;
const READ_ONLY = 0o400;

export class BlockNodes {
  readonly root: string;
  readonly #kernel: Kernel;

  constructor(root: string, kernel: Kernel) {
    this.root = root;
    this.#kernel = kernel;
  }

  pathOf(uid: number, device: string): string {
    return join(this.root, String(uid), device);
  }

  /** Makes the node, in place of one that was left there. */
  async give(
    path: string,
    node: { readonly dev: DevNumber; readonly owner: FolderOwner; readonly readOnly: boolean },
  ): Promise<void> {
    const { dev, owner, readOnly } = node;
    await checkAncestors(this.root);
    for (const folder of [this.root, dirname(path)])
      await ensureFolder(folder, FOLDER_MODE, self());
    await this.takeBack(path);
    const mode = readOnly ? READ_ONLY : READ_WRITE;
    await this.#kernel.blocks.makeNode(path, { dev, ...owner, mode });
  }

  /** False where there was none. */
  takeBack(path: string): Promise<boolean> {
    return this.#kernel.blocks.removeNode(path);
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
