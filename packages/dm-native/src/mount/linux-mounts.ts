/** `Mounts` on the kernel. Needs CAP_SYS_ADMIN, Linux 5.6; for id maps Linux 5.12. */
import { readFile, readlink } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { NativeError } from "../errors.ts";
import { checkPath, closeDescriptor, expectResult, O_RDONLY } from "../sys/descriptor.ts";
import { ERRNO, nativeErrorFromErrno } from "../sys/errno.ts";
import { ioctlLong, requestReadWrite } from "../sys/ioctl.ts";
import { LongWaitLane } from "../sys/long-wait.ts";
import {
  MNT_DETACH,
  mount,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  SYS_MOVE_MOUNT,
  syscallMoveMount,
  UMOUNT_NOFOLLOW,
  umount2,
} from "../sys/mount-syscalls.ts";
import { openEntryWithoutSymlinks, openFolderWithoutSymlinks } from "../sys/openat2.ts";
import { UserNamespaces } from "../sys/user-namespace.ts";
import {
  createDetachedMount,
  mountRefusalOf,
  NO_FS_CONTEXT,
  unknownFilesystem,
} from "./fs-context.ts";
import { legacyMountFlags, missingFlags } from "./mount-flags.ts";
import { describeHolders, findHolders } from "./mount-holders.ts";
import { checkMountOptions, legacyMountData } from "./mount-options.ts";
import { parseMountInfo, topmostAt } from "./mountinfo.ts";
import { inNamespace, isUnanswered } from "./in-namespace.ts";
import type { MountInfo, MountRequest, Mounts, UnmountOptions } from "./mounts.ts";

/** linux/fs.h; the argument of the first two is not used, FITRIM's is struct fstrim_range. */
const FIFREEZE = requestReadWrite(0x58, 119, 4);
const FITHAW = requestReadWrite(0x58, 120, 4);
const FSTRIM_RANGE_BYTES = 24;
const FITRIM = requestReadWrite(0x58, 121, FSTRIM_RANGE_BYTES);
const WHOLE_FILESYSTEM = 0xffff_ffff_ffff_ffffn;

/** Mounts, unmounts and freezes that may wait for a device at the same time. */
const MAX_WAITING_THREADS = 4;
const MAX_WAITING_QUEUED = 256;
/** fsconfig(2) takes strings of up to 255 bytes. */
const MAX_SOURCE_BYTES = 255;

export interface LinuxMountsOptions {
  /** Threads for the calls that may wait long; by default four of its own. */
  readonly lane?: LongWaitLane;
  /** mount(2) even where the kernel has fsopen(2). */
  readonly legacyMount?: boolean;
  /** User namespaces kept open for id maps, one per map; by default 128. */
  readonly maxNamespaces?: number;
}

function invalid(operation: string, object: string, reason: string, hint: string): NativeError {
  return new NativeError({ code: "NATIVE_INVALID", operation, object, reason, hint });
}

/** Absolute and without `.`, `..` and double slashes: as mountinfo prints it. */
function checkMountPoint(operation: string, path: string): void {
  checkPath(operation, path);
  if (path === "/") {
    throw invalid(operation, path, "the root of the system is left alone", "Give another folder.");
  }
  if (path === resolve(path)) return;
  throw invalid(
    operation,
    path,
    "the path is not absolute, or not in its shortest form",
    `Write it as ${resolve(path)}.`,
  );
}

function notMounted(operation: string, path: string, reason: string): NativeError {
  return new NativeError({
    code: "NATIVE_NOT_FOUND",
    operation,
    object: path,
    reason,
    hint: "See what is mounted there: findmnt.",
  });
}

async function mountIdOf(fd: number): Promise<number> {
  const text = await readFile(`/proc/self/fdinfo/${fd}`, "utf8");
  const id = /^mnt_id:\s*(\d+)$/m.exec(text)?.[1];
  if (id !== undefined) return Number(id);
  throw new NativeError({
    code: "NATIVE_PARSE",
    operation: "reading of fdinfo",
    object: `descriptor ${fd}`,
    reason: "it has no mnt_id",
    hint: "Linux 3.15 or newer is needed, with /proc mounted.",
  });
}

export class LinuxMounts implements Mounts {
  readonly #lane: LongWaitLane;
  readonly #ownsLane: boolean;
  readonly #legacyMount: boolean;
  readonly #namespaces: UserNamespaces;

  constructor(options: LinuxMountsOptions = {}) {
    this.#lane =
      options.lane ??
      new LongWaitLane({
        name: "mounts",
        maxThreads: MAX_WAITING_THREADS,
        maxQueued: MAX_WAITING_QUEUED,
      });
    this.#ownsLane = options.lane === undefined;
    this.#namespaces = new UserNamespaces(options.maxNamespaces);
    this.#legacyMount = options.legacyMount === true;
  }

  /** Ends its own threads and closes the user namespaces that it keeps; mounts stay. */
  async close(): Promise<void> {
    await this.#namespaces.close();
    if (this.#ownsLane) await this.#lane.close();
  }

  async list(
    options: { readonly namespaceDescriptor?: number } = {},
  ): Promise<readonly MountInfo[]> {
    const { namespaceDescriptor: namespace } = options;
    if (namespace !== undefined) {
      return parseMountInfo(await inNamespace(namespace, { type: "list" }, "a mount namespace"));
    }
    return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
  }

  async mount(request: MountRequest): Promise<MountInfo> {
    checkMountPoint("mount", request.target);
    checkPath("mount", request.source);
    checkMountOptions(request.options ?? {});
    if (Buffer.byteLength(request.source) > MAX_SOURCE_BYTES) {
      throw invalid("mount", request.source, "the source's path is too long", "Shorten it.");
    }
    // Pinned before anything else: from here on the path is not looked up again.
    const given = request.targetDescriptor;
    const targetFd = given ?? (await openFolderWithoutSymlinks(request.target));
    try {
      const detached = this.#legacyMount
        ? NO_FS_CONTEXT
        : await createDetachedMount(request, this.#lane, this.#namespaces);
      return detached === NO_FS_CONTEXT
        ? await this.#mountInOneCall(request, targetFd)
        : await this.#attach(request, detached, targetFd);
    } catch (error) {
      throw given === undefined ? error : removedMeanwhile(request, error);
    } finally {
      if (given === undefined) await closeDescriptor(targetFd);
    }
  }

  /** Takes `mountFd` over. */
  async #attach(request: MountRequest, mountFd: number, targetFd: number): Promise<MountInfo> {
    const { namespaceDescriptor: namespace } = request;
    if (namespace !== undefined) {
      return this.#attachInNamespace({ request, mountFd, targetFd, namespace });
    }
    try {
      const moved = await syscallMoveMount.async(
        SYS_MOVE_MOUNT,
        mountFd,
        "",
        targetFd,
        "",
        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
      );
      expectResult(moved, { operation: "move_mount", object: request.target });
      try {
        const mountId = await mountIdOf(mountFd);
        const info = (await this.list()).find((entry) => entry.mountId === mountId);
        if (request.targetDescriptor !== undefined) {
          await assertInPlace(request, info, request.targetDescriptor);
        }
        return verified(request, info);
      } catch (error) {
        // The descriptor leads to this very mount, wherever its path leads by now.
        await this.#undo(`/proc/self/fd/${mountFd}`, MNT_DETACH);
        throw error;
      }
    } finally {
      // Held open, it would keep the mount busy.
      await closeDescriptor(mountFd);
    }
  }

  /** Takes `mountFd` over. */
  async #attachInNamespace(parts: {
    readonly request: MountRequest;
    readonly mountFd: number;
    readonly targetFd: number;
    readonly namespace: number;
  }): Promise<MountInfo> {
    const { request, mountFd, targetFd, namespace } = parts;
    const { target } = request;
    let info: MountInfo | undefined;
    let mountId: number | undefined;
    try {
      mountId = await mountIdOf(mountFd);
      const ownPeerGroups = peerGroupsOf(await this.list());
      const attach = { type: "attach", ownPeerGroups } as const;
      const text = await inNamespace(namespace, attach, target, [mountFd, targetFd]);
      info = parseMountInfo(text).find((entry) => entry.mountId === mountId);
      await assertInPlace(request, info, targetFd);
      return verified(request, info);
    } catch (error) {
      // Nobody knows whether a child that did not answer had attached it.
      if (isUnanswered(error)) {
        const mounts = await this.list({ namespaceDescriptor: namespace });
        info = mounts.find((entry) => entry.mountId === mountId);
      }
      if (info !== undefined) {
        const { mountPoint } = info;
        await this.#unmountInNamespace(namespace, mountPoint, {
          mountId: info.mountId,
          lazy: true,
        });
      }
      throw error;
    } finally {
      await closeDescriptor(mountFd);
    }
  }

  async #unmountInNamespace(
    namespace: number,
    target: string,
    { mountId, lazy }: UnmountOptions,
  ): Promise<void> {
    if (mountId === undefined) {
      const hint = "Give the mount's id.";
      throw invalid("umount2", target, "in another mount namespace a path proves nothing", hint);
    }
    const flags = UMOUNT_NOFOLLOW | (lazy === true ? MNT_DETACH : 0);
    await inNamespace(namespace, { type: "unmount", target, mountId, flags }, target);
  }

  /** mount(2): the flags go with the call, the target is the pinned folder by its magic link. */
  async #mountInOneCall(request: MountRequest, targetFd: number): Promise<MountInfo> {
    const { source, type, flags, options = {} } = request;
    if (request.namespaceDescriptor !== undefined) {
      throw new NativeError({
        code: "NATIVE_UNSUPPORTED",
        operation: "mount",
        object: source,
        reason: "mount(2) can't attach a mount in another mount namespace",
        hint: "Linux 5.8 or newer is needed.",
      });
    }
    if (request.idMap !== undefined || request.topFolderOwner !== undefined) {
      throw new NativeError({
        code: "NATIVE_UNSUPPORTED",
        operation: "mount",
        object: source,
        reason: "mount(2) can't map ids, nor give the top folder away before the mount is visible",
        hint: "Linux 5.12 or newer is needed.",
      });
    }
    const parentId = await mountIdOf(targetFd);
    const outcome = await this.#lane.run(mount, [
      source,
      `/proc/self/fd/${targetFd}`,
      type,
      legacyMountFlags(flags),
      legacyMountData(options),
    ]);
    expectResult(outcome, {
      operation: `mount of ${type}`,
      object: source,
      ...(outcome.errno === ERRNO.ENODEV
        ? unknownFilesystem(type)
        : mountRefusalOf(outcome.errno, request)),
    });
    const path = await readlink(`/proc/self/fd/${targetFd}`);
    const above = (await this.list()).filter((entry) => entry.parentId === parentId);
    try {
      return verified(request, topmostAt(above, path));
    } catch (error) {
      await this.#undo(path, MNT_DETACH | UMOUNT_NOFOLLOW);
      throw error;
    }
  }

  /** Undoes a mount that could not be verified; where even that fails, this is what is reported. */
  async #undo(path: string, flags: number): Promise<void> {
    const outcome = await this.#lane.run(umount2, [path, flags]);
    expectResult(outcome, {
      operation: "umount2 after a failed mount",
      object: path,
      hint: "A mount may be left: see findmnt, and unmount it.",
    });
  }

  async unmount(target: string, options: UnmountOptions = {}): Promise<void> {
    checkMountPoint("umount2", target);
    const { namespaceDescriptor: namespace } = options;
    if (namespace !== undefined) {
      await this.#unmountInNamespace(namespace, target, options);
      return;
    }
    if (options.mountId !== undefined) await this.#checkTopmost(target, options.mountId);
    // The parent is pinned, so that no symlink on the way is followed; the mount itself must not
    // be, a descriptor would keep it busy. The last component is umount2's own to not follow.
    const parentFd = await openFolderWithoutSymlinks(dirname(target));
    try {
      const path = `/proc/self/fd/${parentFd}/${basename(target)}`;
      if (options.mountId !== undefined) await assertMountAt(parentFd, target, options.mountId);
      const flags = UMOUNT_NOFOLLOW | (options.lazy === true ? MNT_DETACH : 0);
      const { result, errno } = await this.#lane.run(umount2, [path, flags]);
      if (result < 0) throw await this.#unmountError(target, errno);
    } finally {
      await closeDescriptor(parentFd);
    }
  }

  async #checkTopmost(target: string, mountId: number): Promise<void> {
    const top = topmostAt(await this.list(), target);
    if (top?.mountId === mountId) return;
    const reason =
      top === undefined ? "nothing is mounted here" : `the mount here is ${top.mountId}`;
    throw notMounted("umount2", target, `${reason}, not ${mountId}`);
  }

  async #unmountError(target: string, errno: number): Promise<NativeError> {
    const what = { operation: "umount2", object: target, errno } as const;
    if (errno === ERRNO.EINVAL) {
      return nativeErrorFromErrno({
        ...what,
        code: "NATIVE_NOT_FOUND",
        reason: "nothing is mounted here",
        hint: "See what is mounted: findmnt.",
      });
    }
    if (errno !== ERRNO.EBUSY) return nativeErrorFromErrno(what);
    const mounts = await this.list();
    const own = topmostAt(mounts, target);
    const inner = mounts.find(
      (entry) => entry.parentId === own?.mountId && entry.mountPoint.startsWith(`${target}/`),
    );
    const holders = describeHolders(await findHolders([target]));
    if (inner !== undefined) {
      return nativeErrorFromErrno({
        ...what,
        reason: `another filesystem is mounted inside, at ${inner.mountPoint}`,
        hint: "Unmount that one first.",
      });
    }
    return nativeErrorFromErrno({
      ...what,
      reason: holders === "" ? "some process uses it" : `in use: ${holders}`,
      hint:
        holders === ""
          ? `Find it with: fuser -vm ${target}.`
          : "End these processes or let them leave the folder, then try again.",
    });
  }

  async freeze(mountPoint: string): Promise<void> {
    await this.#control("FIFREEZE", mountPoint, FIFREEZE, 0, {
      [ERRNO.EBUSY]: { reason: "it is frozen already", hint: "Thaw it first." },
    });
  }

  async thaw(mountPoint: string): Promise<void> {
    await this.#control("FITHAW", mountPoint, FITHAW, 0, {
      [ERRNO.EINVAL]: { reason: "it is not frozen", hint: "Nothing has to be done." },
    });
  }

  async trim(
    mountPoint: string,
    options: { readonly minimumBytes?: bigint } = {},
  ): Promise<bigint> {
    // struct fstrim_range: start, len, minlen, each u64; len is answered with the bytes discarded.
    const range = Buffer.alloc(FSTRIM_RANGE_BYTES);
    range.writeBigUInt64LE(WHOLE_FILESYSTEM, 8);
    range.writeBigUInt64LE(options.minimumBytes ?? 0n, 16);
    await this.#control("FITRIM", mountPoint, FITRIM, range, {
      [ERRNO.EINVAL]: {
        reason: `no piece of this filesystem can be at least ${options.minimumBytes ?? 0n} bytes`,
        hint: "Give a smaller minimum.",
      },
      [ERRNO.EOPNOTSUPP]: {
        reason: "the device below does not take discards",
        hint: "Nothing can be given back: run without trim.",
      },
    });
    return range.readBigUInt64LE(8);
  }

  /** An ioctl on the filesystem whose mount point this is: never on the one around a missing mount. */
  async #control(
    operation: string,
    mountPoint: string,
    request: number,
    argument: Uint8Array | number,
    words: Readonly<Record<number, { readonly reason: string; readonly hint: string }>>,
  ): Promise<void> {
    checkMountPoint(operation, mountPoint);
    const fd = await openFolderWithoutSymlinks(mountPoint, O_RDONLY);
    try {
      const mountId = await mountIdOf(fd);
      const own = (await this.list()).find((entry) => entry.mountId === mountId);
      if (own?.mountPoint !== mountPoint) {
        throw notMounted(operation, mountPoint, "nothing is mounted here");
      }
      const { result, errno } = await ioctlLong(this.#lane, fd, request, argument);
      if (result >= 0) return;
      throw nativeErrorFromErrno({ operation, object: mountPoint, errno, ...words[errno] });
    } finally {
      await closeDescriptor(fd);
    }
  }
}

/** The groups whose members show what is mounted in one of them ("shared:N"), and those that follow. */
function peerGroupsOf(mounts: readonly MountInfo[]): readonly string[] {
  const fields = mounts.flatMap(({ optionalFields }) => optionalFields);
  const numbers = fields.map((field) => /^(?:shared|master):(\d+)$/.exec(field)?.[1]);
  return [...new Set(numbers)].flatMap((group) => (group === undefined ? [] : [`shared:${group}`]));
}

/** The path may lead elsewhere since mountinfo was read: what the pinned parent holds is what counts. */
async function assertMountAt(parentFd: number, target: string, mountId: number): Promise<void> {
  const fd = await openEntryWithoutSymlinks(parentFd, basename(target));
  let found: number;
  try {
    found = await mountIdOf(fd);
  } finally {
    // Held open, it would keep the mount busy.
    await closeDescriptor(fd);
  }
  if (found === mountId) return;
  throw notMounted("umount2", target, `the way there leads to mount ${found}, not ${mountId}`);
}

/**
 * move_mount(2) goes on top of a mount that somebody made on the pinned folder meanwhile, and the
 * folder may have been moved to where the caller did not ask for a mount.
 */
async function assertInPlace(
  request: MountRequest,
  info: MountInfo | undefined,
  targetFd: number,
): Promise<void> {
  if (info === undefined) return;
  const onTop = info.parentId !== (await mountIdOf(targetFd));
  if (!onTop && info.mountPoint === request.target) return;
  throw disturbed(
    request,
    onTop ? "something else was mounted there meanwhile" : "the folder was moved meanwhile",
  );
}

/** move_mount(2) has ENOENT for a pinned folder that was removed; the caller's doing, and no error of ours. */
function removedMeanwhile(request: MountRequest, error: unknown): unknown {
  const removed =
    error instanceof NativeError &&
    error.operation === "move_mount" &&
    error.code === "NATIVE_NOT_FOUND";
  return removed ? disturbed(request, "the folder was removed meanwhile") : error;
}

function disturbed(request: MountRequest, reason: string): NativeError {
  return new NativeError({
    code: "NATIVE_BUSY",
    operation: "mount",
    object: request.target,
    reason,
    hint: "Leave the folder alone while it is mounted on, and mount again.",
  });
}

/** The mount as mountinfo shows it, if it is there and has every flag that was asked for. */
function verified(request: MountRequest, info: MountInfo | undefined): MountInfo {
  if (info === undefined) {
    throw notMounted("mount", request.target, "the new mount is not in /proc/self/mountinfo");
  }
  const missing = missingFlags(request.flags, info.options);
  if (missing.length === 0) return info;
  throw new NativeError({
    code: "NATIVE_UNSUPPORTED",
    operation: "mount",
    object: request.target,
    reason: `this kernel did not set ${missing.join(", ")}`,
    hint: "A newer kernel is needed.",
  });
}
