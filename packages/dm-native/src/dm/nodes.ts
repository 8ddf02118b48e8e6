/**
 * /dev/mapper: the control node, and the devices' nodes where no udevd makes them.
 * All calls are on devtmpfs or tmpfs and wait for no disk.
 */
import { existsSync, lstatSync, mkdirSync, readFileSync, statSync, unlinkSync } from "node:fs";
import type { Stats } from "node:fs";
import { basename, dirname } from "node:path";
import type { DevNumber } from "../dev-number.ts";
import { formatDevNumber } from "../dev-number.ts";
import { NativeError } from "../errors.ts";
import { dmNodePath } from "../names.ts";
import type { DmName } from "../names.ts";
import { ERRNO, errnoOfNodeError, nativeErrorFromErrno } from "../sys/errno.ts";
import { mknod } from "../sys/libc.ts";
import { encodeDev } from "./header.ts";

const DM_FOLDER = "/dev/mapper";
export const CONTROL_NODE: string = `${DM_FOLDER}/control`;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
/** As libdevmapper: for root only. */
const NODE_MODE = 0o600;

/** A path right below /dev/mapper: to look at what lies there waits for no disk. */
export function isInDmFolder(path: string): boolean {
  return dirname(path) === DM_FOLDER && basename(path) !== "..";
}

/** The errno, or 0. */
function tryNode(path: string, type: number, dev: DevNumber): number {
  return mknod.sync(path, type | NODE_MODE, encodeDev(dev)).errno;
}

function makeNode(path: string, type: number, dev: DevNumber): void {
  const errno = tryNode(path, type, dev);
  if (errno === 0) return;
  throw nativeErrorFromErrno({
    operation: "mknod",
    object: path,
    errno,
    ...(errno === ERRNO.EPERM
      ? { hint: "It needs CAP_MKNOD outside a user namespace: run as root." }
      : {}),
  });
}

/** What lies at the path, undefined where nothing does. */
function look(path: string, read: (path: string) => Stats): Stats | undefined {
  try {
    return read(path);
  } catch (error) {
    if (errnoOfNodeError(error) === ERRNO.ENOENT) return undefined;
    throw nativeErrorFromErrno({
      operation: "stat",
      object: path,
      errno: errnoOfNodeError(error),
      cause: error,
    });
  }
}

/** The device number in the text of /proc/misc and /proc/devices; undefined without dm. */
export function parseControlNumber(misc: string, devices: string): DevNumber | undefined {
  const minor = /^\s*(\d+)\s+device-mapper$/m.exec(misc)?.[1];
  const major = /^\s*(\d+)\s+misc$/m.exec(devices)?.[1];
  if (minor === undefined || major === undefined) return undefined;
  return { major: Number(major), minor: Number(minor) };
}

/** Makes the control node where it is missing; NATIVE_UNSUPPORTED where the kernel has no dm. */
export function ensureControlNode(): void {
  if (existsSync(CONTROL_NODE)) return;
  const dev = parseControlNumber(
    readFileSync("/proc/misc", "utf8"),
    readFileSync("/proc/devices", "utf8"),
  );
  if (dev === undefined) throw noDeviceMapper();
  mkdirSync(DM_FOLDER, { recursive: true, mode: 0o755 });
  try {
    makeNode(CONTROL_NODE, S_IFCHR, dev);
  } catch (error) {
    // Another process was faster.
    if (!(error instanceof NativeError && error.code === "NATIVE_EXISTS")) throw error;
  }
}

export function noDeviceMapper(cause?: unknown): NativeError {
  return new NativeError({
    code: "NATIVE_UNSUPPORTED",
    operation: "opening of the device-mapper",
    object: CONTROL_NODE,
    reason: "this kernel has no device-mapper",
    hint: "Load its module: modprobe dm_mod.",
    cause,
  });
}

function isNodeOf(found: Stats | undefined, dev: DevNumber): boolean {
  return found?.isBlockDevice() === true && BigInt(found.rdev) === encodeDev(dev);
}

/**
 * Makes a device's node unless it is there (a link of udev's counts). A stale node or link is
 * replaced; anything else at that place is left alone and NATIVE_EXISTS. True if it had to be made.
 */
export function ensureNode(name: DmName, dev: DevNumber): boolean {
  const path = dmNodePath(name);
  // Where udev makes no nodes this is all there is to do.
  if (tryNode(path, S_IFBLK, dev) === 0) return true;
  if (isNodeOf(look(path, statSync), dev)) return false;
  const found = look(path, lstatSync);
  if (found !== undefined && !found.isBlockDevice() && !found.isSymbolicLink()) {
    throw new NativeError({
      code: "NATIVE_EXISTS",
      operation: "making of a device node",
      object: path,
      reason: `something that is no device is in the place of ${formatDevNumber(dev)}`,
      hint: "Move it away.",
    });
  }
  if (found !== undefined) removeNode(name);
  mkdirSync(DM_FOLDER, { recursive: true, mode: 0o755 });
  makeNode(path, S_IFBLK, dev);
  return true;
}

/** Removes a device's node or link; true if there was one. Other kinds of files stay. */
export function removeNode(name: DmName): boolean {
  const path = dmNodePath(name);
  const found = look(path, lstatSync);
  if (found === undefined || (!found.isBlockDevice() && !found.isSymbolicLink())) return false;
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    // udev or another process was faster.
    if (errnoOfNodeError(error) === ERRNO.ENOENT) return false;
    throw nativeErrorFromErrno({
      operation: "unlink",
      object: path,
      errno: errnoOfNodeError(error),
      cause: error,
    });
  }
}
