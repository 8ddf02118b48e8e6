import { mkdirSync, mkdtempSync, readFileSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

/** The folders of one run, all private and all removed at its end. */
export interface RunFolders {
  readonly folder: string;
  /** In `folder`: shared with the guest. */
  readonly control: string;
  /** For the guest's memory. */
  readonly memory: string;
}

export function makeRunFolders(memoryMiB: number): RunFolders {
  const base = tmpdir();
  // The path becomes part of the kernel's command line and of mount options.
  const folder = mkdtempSync(join(/[\s,]/.test(base) ? "/tmp" : base, "thinpool-lab-"));
  const control = join(folder, "control");
  mkdirSync(control);
  return { folder, control, memory: makeMemoryFolder(folder, memoryMiB) };
}

/** In memory where that can be mapped executable and has room; containers often forbid both. */
function makeMemoryFolder(folder: string, memoryMiB: number): string {
  const shm = "/dev/shm";
  const mount = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .findLast((fields) => fields[4] === shm);
  if (mount === undefined || (mount[5] ?? "").split(",").includes("noexec")) return folder;
  const { bavail, bsize } = statfsSync(shm);
  if (bavail * bsize < memoryMiB * 1024 * 1024) return folder;
  const memory = join(shm, basename(folder));
  mkdirSync(memory, { mode: 0o700 });
  return memory;
}
