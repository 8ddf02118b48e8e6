import { mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder for temporary files of one lab, by which its processes and files can be found. */
export function ownTemporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "lab-e2e-"));
}

/** Names of the runs that have folders now. */
export function runsIn(folder: string): string[] {
  return readdirSync(folder);
}

/** Processes and files of the runs that had their folders in `folder`; removes it when empty. */
export function leftBehind(folder: string, runs: readonly string[]): string[] {
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && commandLine(name).includes(folder))
    .map((pid) => `process ${pid}: ${commandLine(pid)}`);
  const files = readdirSync(folder).map((name) => join(folder, name));
  const memory = readdirSync("/dev/shm").filter((name) => runs.includes(name));
  if (files.length === 0) rmdirSync(folder);
  return [...processes, ...files, ...memory];
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    // The process has ended since the folder was read.
    return "";
  }
}
