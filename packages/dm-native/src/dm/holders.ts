/** Who holds a block device: asked only after EBUSY, to make the error useful. */
import { readFile, readdir } from "node:fs/promises";
import type { DevNumber } from "../dev-number.ts";
import { formatDevNumber } from "../dev-number.ts";
import { findHolders } from "../mount/mount-holders.ts";
import { unmangle } from "../names.ts";

/** More names than this help nobody. */
const MAX_NAMED = 5;

/** Undefined where it can't be read: the hint then says where to look instead. */
async function readable<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch {
    // The device may be gone by now or /proc hidden: no holders are named, nothing is lost.
    return undefined;
  }
}

async function holderNames(dev: DevNumber): Promise<string[]> {
  const folder = `/sys/dev/block/${formatDevNumber(dev)}/holders`;
  const entries = (await readable(readdir(folder))) ?? [];
  return Promise.all(
    entries.slice(0, MAX_NAMED).map(async (entry) => {
      const name = await readable(readFile(`${folder}/${entry}/dm/name`, "utf8"));
      return name === undefined ? entry : `${entry} (${unmangle(name.trim())})`;
    }),
  );
}

/** The third field of a mountinfo line is the device, the fifth the mount point. */
export function mountPointsOf(mountinfo: string, dev: DevNumber): string[] {
  const wanted = formatDevNumber(dev);
  return mountinfo
    .split("\n")
    .map((line) => line.split(" "))
    .filter((fields) => fields[2] === wanted && fields[4] !== undefined)
    .map((fields) => fields[4] ?? "");
}

/**
 * One sentence on who holds it, or on where to look. `nodes`: the device's paths, by which a process
 * that has it open itself is found; looked for only where no mount or device explains it.
 */
export async function holdersHint(dev: DevNumber, nodes: readonly string[] = []): Promise<string> {
  const mountinfo = (await readable(readFile("/proc/self/mountinfo", "utf8"))) ?? "";
  const holders = [
    ...(await holderNames(dev)).map((name) => `device ${name}`),
    ...mountPointsOf(mountinfo, dev)
      .slice(0, MAX_NAMED)
      .map((path) => `the mount at ${path}`),
  ];
  if (holders.length === 0) {
    const processes = (await readable(findHolders(nodes))) ?? [];
    holders.push(...processes.map(({ pid, name }) => `process ${pid} (${name})`));
  }
  const number = formatDevNumber(dev);
  if (holders.length > 0) return `It is held by ${holders.join(", ")}: release it, try again.`;
  return `Look for the holder in /sys/dev/block/${number}/holders, for "${number}" in /proc/*/mountinfo (mounts of other namespaces count), and with fuser.`;
}
