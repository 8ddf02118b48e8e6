/**
 * The folders in which devices are mounted: ROOT (0711, root) / UID (0700, the user) / DEVICE (root).
 * All of them are made here, none is a caller's choice. Inside UID its owner may rename and make
 * things, so nothing there is opened or listed: DEVICE is made anew for each mount, and the mount is
 * refused where that can't be.
 */
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RequestError } from "../errors.ts";

const SERVICE_MODE = 0o755;
const ROOT_MODE = 0o711;
const USER_MODE = 0o700;
const TARGET_MODE = 0o700;
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

export interface FolderOwner {
  readonly uid: number;
  readonly gid: number;
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function refuse(object: string, reason: string, hint: string): never {
  throw new RequestError({
    code: "INTERNAL",
    operation: "check of a folder",
    object,
    reason,
    hint,
  });
}

export function self(): FolderOwner {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

/** No folder above `path` may be a symlink, or be one in which others can put something else there. */
export async function checkAncestors(path: string): Promise<void> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const stat = await lstat(folder);
    if (!stat.isDirectory()) {
      refuse(folder, "it is no folder, or a symlink", "Name a path that leads over real folders.");
    }
    const trusted = stat.uid === 0 || stat.uid === self().uid;
    const open_ = (stat.mode & WRITABLE_BY_OTHERS) !== 0 && (stat.mode & STICKY) === 0;
    if (!trusted || open_) {
      refuse(folder, "others may change what is in it", "Name a folder that only root can change.");
    }
    if (folder === dirname(folder)) return;
  }
}

/**
 * Makes the folder, or takes one that is there if it belongs to `owner`; sets its mode. Its parent is one that
 * only the daemon's user can change: so an empty one of the daemon's own, not given away yet, is one that is
 * being made by another call, or was when the daemon died.
 */
export async function ensureFolder(path: string, mode: number, owner: FolderOwner): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const handle = await open(path, flags);
  try {
    const stat = await handle.stat();
    if (stat.uid !== owner.uid) {
      const isOurs = stat.uid === self().uid && (await readdir(path)).length === 0;
      // Another call may have given it away meanwhile, and put its target into it.
      if (!isOurs && (await handle.stat()).uid !== owner.uid) {
        const reason = `it belongs to uid ${stat.uid}, not ${owner.uid}`;
        refuse(path, reason, "Remove it: the daemon makes it anew.");
      }
      await handle.chown(owner.uid, owner.gid);
    }
    if ((stat.mode & 0o7777) !== mode) await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

/** The daemon's own folder, as /run/thinpool: makes it (0755), or takes one that only it can change. */
export async function ensureServiceFolder(path: string): Promise<void> {
  await checkAncestors(path);
  try {
    const stat = await lstat(path);
    const own = stat.isDirectory() && stat.uid === self().uid;
    if (own && (stat.mode & WRITABLE_BY_OTHERS) === 0) return;
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  await ensureFolder(path, SERVICE_MODE, self());
}

export class MountFolders {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  async prepareRoot(): Promise<void> {
    await ensureServiceFolder(dirname(this.root));
    await ensureFolder(this.root, ROOT_MODE, self());
  }

  targetOf(uid: number, device: string): string {
    return join(this.root, String(uid), device);
  }

  /** True for a path below the root. */
  contains(path: string): boolean {
    return path.startsWith(`${this.root}/`);
  }

  /**
   * Makes the empty target. BUSY where the user has put something in its place, or mounted something
   * over the way to it (`mountPoints`: the machine's, as the kernel lists them).
   */
  async makeTarget(
    owner: FolderOwner,
    device: string,
    mountPoints: ReadonlySet<string>,
  ): Promise<string> {
    const folder = join(this.root, String(owner.uid));
    const target = this.targetOf(owner.uid, device);
    for (const path of [folder, target]) {
      if (mountPoints.has(path)) this.#inTheWay(path, "something else is mounted there");
    }
    await ensureFolder(folder, USER_MODE, owner);
    try {
      await rmdir(target);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) {
        this.#inTheWay(target, "something that is no empty folder is in its place", error);
      }
    }
    await mkdir(target, { mode: TARGET_MODE });
    return target;
  }

  /** After the unmount. A target that its user has renamed or filled stays: it is empty of ours. */
  async removeTarget(target: string): Promise<"removed" | "left"> {
    try {
      await rmdir(target);
      return "removed";
    } catch (error) {
      if (hasCode(error, "ENOENT")) return "removed";
      if (["ENOTEMPTY", "ENOTDIR", "EBUSY"].some((code) => hasCode(error, code))) return "left";
      throw error;
    }
  }

  #inTheWay(path: string, reason: string, cause?: unknown): never {
    const errnoName = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
    throw new RequestError({
      code: "BUSY",
      operation: "mount",
      object: path,
      reason,
      hint: "Move it away, then mount again.",
      errnoName,
    });
  }
}
