/**
 * Which processes keep a mount busy: those whose working directory, root or an open file lies in
 * it, told by the links of /proc. Nothing inside the mount is touched: a link's text is enough.
 * Files that are only mapped are not looked for, nor processes of other mount namespaces.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import { ERRNO, errnoOfNodeError } from "../sys/errno.ts";

export interface MountHolder {
  readonly pid: number;
  readonly name: string;
  /** "its working directory", "its root", "an open file". */
  readonly by: string;
}

export interface HolderLimits {
  /** Looking stops at so many holders; the error needs no more. */
  readonly maxHolders: number;
  readonly maxProcesses: number;
  readonly maxLinksPerProcess: number;
  readonly maxMilliseconds: number;
}

export const HOLDER_LIMITS: HolderLimits = {
  maxHolders: 5,
  maxProcesses: 4096,
  maxLinksPerProcess: 1024,
  maxMilliseconds: 3000,
};

/** The process or the file is gone, or is not ours to look at: then it is no holder that we can name. */
function isExpected(error: unknown): boolean {
  const errno = errnoOfNodeError(error);
  return [ERRNO.ENOENT, ERRNO.ESRCH, ERRNO.EACCES, ERRNO.EPERM].includes(errno);
}

async function orUndefined<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (isExpected(error)) return undefined;
    throw error;
  }
}

function lies(link: string | undefined, places: readonly string[]): boolean {
  if (link === undefined) return false;
  return places.some((place) => link === place || link.startsWith(`${place}/`));
}

async function holdsBy(
  pid: number,
  places: readonly string[],
  maxLinks: number,
): Promise<string | undefined> {
  const folder = `/proc/${pid}`;
  if (lies(await orUndefined(readlink(`${folder}/cwd`)), places)) return "its working directory";
  if (lies(await orUndefined(readlink(`${folder}/root`)), places)) return "its root";
  const descriptors = (await orUndefined(readdir(`${folder}/fd`))) ?? [];
  for (const fd of descriptors.slice(0, maxLinks)) {
    if (lies(await orUndefined(readlink(`${folder}/fd/${fd}`)), places)) return "an open file";
  }
  return undefined;
}

/**
 * The first holders of something at or below one of the places (mount points, or a device's nodes)
 * found within the limits; an empty list proves nothing.
 */
export async function findHolders(
  places: readonly string[],
  limits: HolderLimits = HOLDER_LIMITS,
): Promise<readonly MountHolder[]> {
  const deadline = performance.now() + limits.maxMilliseconds;
  const holders: MountHolder[] = [];
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids.slice(0, limits.maxProcesses)) {
    if (holders.length >= limits.maxHolders || performance.now() > deadline) break;
    const by = await holdsBy(pid, places, limits.maxLinksPerProcess);
    if (by === undefined) continue;
    const name = (await orUndefined(readFile(`/proc/${pid}/comm`, "utf8")))?.trim() ?? "?";
    holders.push({ pid, name, by });
  }
  return holders;
}

export function describeHolders(holders: readonly MountHolder[]): string {
  return holders.map(({ pid, name, by }) => `process ${pid} (${name}) by ${by}`).join(", ");
}
