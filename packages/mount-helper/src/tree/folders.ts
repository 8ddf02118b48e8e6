/**
 * The folder in which a tree is written or read, and the folders below it, all by descriptor: the kernel
 * itself keeps every way beneath the first one, and follows no symlink (openat2), whatever somebody else
 * renames there meanwhile. What is in a pinned folder is named by /proc/self/fd, by its last name only.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { closeDescriptor, openFolderBeneath } from "@thinpool/thinpool";

/** A pinned folder. */
export interface Pinned {
  readonly descriptor: number;
}

export class TreeRoot implements AsyncDisposable {
  readonly #handle: FileHandle;
  /** The one that was used last: an archive goes folder by folder. */
  #last: (Pinned & { readonly path: string }) | undefined;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async open(path: string): Promise<TreeRoot> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    return new TreeRoot(await open(path, flags));
  }

  get descriptor(): number {
    return this.#handle.fd;
  }

  /**
   * The folder at `path`, "" for the root itself; good until the next call. Throws NativeError:
   * NATIVE_NOT_FOUND, NATIVE_INVALID where it is no folder or a symlink is on the way.
   */
  async folder(path: string): Promise<Pinned> {
    if (path === "") return this;
    if (this.#last?.path === path) return this.#last;
    const descriptor = await openFolderBeneath(this.#handle.fd, path);
    await this.forget();
    this.#last = { descriptor, path };
    return this.#last;
  }

  /** Looks anew for the folder that was used last. */
  async forget(): Promise<void> {
    const last = this.#last;
    this.#last = undefined;
    if (last !== undefined) await closeDescriptor(last.descriptor);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forget();
    await this.#handle.close();
  }
}

/** For node:fs: an entry of a pinned folder; without a name the folder itself. */
export function at({ descriptor }: Pinned, name = ""): string {
  return name === "" ? `/proc/self/fd/${descriptor}` : `/proc/self/fd/${descriptor}/${name}`;
}
