/**
 * A mount made detached, complete with flags and id map, before it is attached anywhere:
 * fsopen(2), fsconfig(2), fsmount(2), mount_setattr(2).
 */
import { closeDescriptor } from "../sys/descriptor.ts";
import { ERRNO, nativeErrorFromErrno } from "../sys/errno.ts";
import type { NativeErrnoInit } from "../sys/errno.ts";
import type { SyscallResult } from "../sys/libc.ts";
import type { LongWaitLane } from "../sys/long-wait.ts";
import {
  AT_EMPTY_PATH,
  encodeIdMapAttribute,
  FSCONFIG_CMD_CREATE,
  fchownat,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  read,
  SYS_FSCONFIG,
  SYS_FSMOUNT,
  SYS_FSOPEN,
  SYS_MOUNT_SETATTR,
  syscallFsconfig,
  syscallFsmount,
  syscallFsopen,
  syscallMountSetattr,
} from "../sys/mount-syscalls.ts";
import type { UserNamespaces } from "../sys/user-namespace.ts";
import { mountAttributes } from "./mount-flags.ts";
import type { MountIdMap, MountRequest } from "./mounts.ts";

/** The kernel keeps 8 messages per context (fs/fs_context.c, struct fc_log). */
const MAX_MESSAGES = 16;
const MAX_MESSAGE_BYTES = 4096;

/** asm-generic/errno.h; Node has no constants for these. */
const ENOTBLK = 15;
const EUCLEAN = 117;

/** This kernel has no fsopen(2): take mount(2). */
export const NO_FS_CONTEXT: unique symbol = Symbol("no fsopen(2)");

/** What the filesystem has to say: lines that begin with "e ", "w " or "i ". */
function readMessages(contextFd: number): readonly string[] {
  const messages: string[] = [];
  const bytes = Buffer.alloc(MAX_MESSAGE_BYTES);
  while (messages.length < MAX_MESSAGES) {
    const { result } = read.sync(contextFd, bytes, bytes.length);
    // ENODATA: no more of them. Any other failure must not hide the one being reported.
    if (result <= 0) break;
    messages.push(
      bytes
        .toString("utf8", 0, result)
        .trim()
        .replace(/^[ewi] /, ""),
    );
  }
  return messages;
}

type Refusal = Pick<NativeErrnoInit, "code" | "reason" | "hint">;

/** What an errno of superblock creation means; where the filesystem spoke, its words come first. */
export function mountRefusalOf(errno: number, { source, type }: MountRequest): Refusal {
  switch (errno) {
    case ERRNO.EBUSY:
      return {
        reason: `${source} is in use, or mounted with another read-only state`,
        hint: `See what holds it: lsblk ${source}, /proc/mounts.`,
      };
    case ERRNO.EINVAL:
    case EUCLEAN:
      return {
        code: "NATIVE_INVALID",
        reason: `${source} carries no intact ${type}, or an option is not known to it`,
        hint: "The kernel log (dmesg) tells which; fsck repairs a damaged filesystem.",
      };
    case ENOTBLK:
      return {
        code: "NATIVE_INVALID",
        reason: `${source} is no block device`,
        hint: "Give the node of a block device.",
      };
    case ERRNO.EACCES:
    case ERRNO.EROFS:
      return {
        code: "NATIVE_REFUSED",
        reason: `${source} can only be read`,
        hint: "Mount it read-only.",
      };
    default:
      return {};
  }
}

function check(contextFd: number, outcome: SyscallResult, what: NativeErrnoInit): number {
  if (outcome.result >= 0) return outcome.result;
  const said = readMessages(contextFd).join("; ");
  throw nativeErrorFromErrno(said === "" ? what : { ...what, reason: said });
}

async function configure(
  contextFd: number,
  request: MountRequest,
  lane: LongWaitLane,
): Promise<void> {
  const set = async (command: number, key: string, value: string | null): Promise<void> => {
    const outcome = await syscallFsconfig.async(SYS_FSCONFIG, contextFd, command, key, value, 0);
    check(contextFd, outcome, {
      operation: `fsconfig ${key}`,
      object: request.source,
      errno: outcome.errno,
    });
  };
  await set(FSCONFIG_SET_STRING, "source", request.source);
  if (request.flags.readOnly === true) await set(FSCONFIG_SET_FLAG, "ro", null);
  for (const [key, value] of Object.entries(request.options ?? {})) {
    if (value === true) await set(FSCONFIG_SET_FLAG, key, null);
    else await set(FSCONFIG_SET_STRING, key, value);
  }
  // Reads the superblock and replays the journal: as long as the device takes.
  const created = await lane.run(syscallFsconfig, [
    SYS_FSCONFIG,
    contextFd,
    FSCONFIG_CMD_CREATE,
    null,
    null,
    0,
  ]);
  check(contextFd, created, {
    operation: `mount of ${request.type}`,
    object: request.source,
    errno: created.errno,
    ...mountRefusalOf(created.errno, request),
  });
}

/** On the disk: the mount is not visible to anybody yet. */
async function giveTopFolder(
  mountFd: number,
  owner: { readonly uid: number; readonly gid: number },
  request: MountRequest,
): Promise<void> {
  const outcome = await fchownat.async(mountFd, "", owner.uid, owner.gid, AT_EMPTY_PATH);
  if (outcome.result === 0) return;
  const what = { operation: "fchownat of the top folder", object: request.source };
  throw nativeErrorFromErrno({ ...what, errno: outcome.errno });
}

async function applyIdMap(
  mountFd: number,
  map: MountIdMap,
  request: MountRequest,
  namespaces: UserNamespaces,
): Promise<void> {
  await namespaces.withNamespace(map, async (fd) => {
    const attributes = encodeIdMapAttribute(fd);
    const { result, errno } = await syscallMountSetattr.async(
      SYS_MOUNT_SETATTR,
      mountFd,
      "",
      AT_EMPTY_PATH,
      attributes,
      attributes.length,
    );
    if (result === 0) return;
    const what = { operation: "mount_setattr(MOUNT_ATTR_IDMAP)", object: request.source, errno };
    if (errno !== ERRNO.EINVAL && errno !== ERRNO.ENOSYS) throw nativeErrorFromErrno(what);
    throw nativeErrorFromErrno({
      ...what,
      code: "NATIVE_UNSUPPORTED",
      reason: `this kernel can't map the ids of a mounted ${request.type}`,
      hint: "Linux 5.12 or newer and a filesystem that allows it (ext4, xfs) are needed.",
    });
  });
}

/**
 * The descriptor of a mount that is attached nowhere: closing it undoes all. Resolves with
 * NO_FS_CONTEXT where the kernel does not have these calls.
 */
export async function createDetachedMount(
  request: MountRequest,
  lane: LongWaitLane,
  namespaces: UserNamespaces,
): Promise<number | typeof NO_FS_CONTEXT> {
  const opened = await syscallFsopen.async(SYS_FSOPEN, request.type, FSOPEN_CLOEXEC);
  if (opened.result < 0) {
    const { errno } = opened;
    if (errno === ERRNO.ENOSYS) return NO_FS_CONTEXT;
    throw nativeErrorFromErrno({
      operation: "fsopen",
      object: request.type,
      errno,
      ...(errno === ERRNO.ENODEV ? unknownFilesystem(request.type) : {}),
    });
  }
  const contextFd = opened.result;
  try {
    await configure(contextFd, request, lane);
    const attributes = mountAttributes(request.flags);
    const mounted = await syscallFsmount.async(SYS_FSMOUNT, contextFd, FSMOUNT_CLOEXEC, attributes);
    const mountFd = check(contextFd, mounted, {
      operation: "fsmount",
      object: request.source,
      errno: mounted.errno,
    });
    try {
      const map = request.idMap;
      if (map !== undefined) await applyIdMap(mountFd, map, request, namespaces);
      const owner = request.topFolderOwner;
      if (owner !== undefined) await giveTopFolder(mountFd, owner, request);
    } catch (error) {
      await closeDescriptor(mountFd);
      throw error;
    }
    return mountFd;
  } finally {
    await closeDescriptor(contextFd);
  }
}

export function unknownFilesystem(type: string): Refusal {
  return {
    code: "NATIVE_UNSUPPORTED",
    reason: `this kernel has no filesystem "${type}"`,
    hint: `Load its module: modprobe ${type}.`,
  };
}
