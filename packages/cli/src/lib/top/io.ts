/** How much is read from and written to each device, from /proc/diskstats: anybody may read it. */
import { readdir, readFile } from "node:fs/promises";

/** diskstats counts in sectors of 512 bytes, whatever the device's own are (kernel: iostats.rst). */
const SECTOR_BYTES = 512;

export interface IoCounts {
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** By "major:minor"; lines that are not understood are left out. */
export function parseDiskStats(text: string): ReadonlyMap<string, IoCounts> {
  const counts = new Map<string, IoCounts>();
  for (const line of text.split("\n")) {
    const [major, minor, , , , sectorsRead, , , , sectorsWritten] = line.trim().split(/\s+/);
    if (sectorsWritten === undefined) continue;
    counts.set(`${major}:${minor}`, {
      readBytes: Number(sectorsRead) * SECTOR_BYTES,
      writtenBytes: Number(sectorsWritten) * SECTOR_BYTES,
    });
  }
  return counts;
}

/** By device uuid (the last part of the dm uuid); empty where /sys shows no dm devices. */
export async function readIoCounts(): Promise<ReadonlyMap<string, IoCounts>> {
  const stats = parseDiskStats(await readFile("/proc/diskstats", "utf8"));
  const blocks = (await readdir("/sys/block")).filter((name) => name.startsWith("dm-"));
  const found = new Map<string, IoCounts>();
  for (const block of blocks) {
    try {
      const uuid = (await readFile(`/sys/block/${block}/dm/uuid`, "utf8")).trim();
      const dev = (await readFile(`/sys/block/${block}/dev`, "utf8")).trim();
      const counts = stats.get(dev);
      const deviceUuid = /^THINPOOL-[0-9a-f]+-([0-9a-f-]{36})$/.exec(uuid)?.[1];
      if (counts !== undefined && deviceUuid !== undefined) found.set(deviceUuid, counts);
    } catch {
      // It went while we looked: the next look does not find it either.
    }
  }
  return found;
}
