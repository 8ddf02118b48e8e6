import { existsSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** The repository's root: this file is lab/src/places.ts. */
export const repository: string = dirname(dirname(import.meta.dirname));

/** Where downloads and unpacked kernels are kept between runs. */
export function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"];
  return join(base !== undefined && base !== "" ? base : join(homedir(), ".cache"), "thinpool");
}

/** Folder of the node binary that runs this program: first on the guest's PATH. */
export function nodeFolder(): string {
  return dirname(realpathSync(process.execPath));
}

/** Host folders that the guest must see at the same path, whatever hides their parents. */
export function foldersToShow(): string[] {
  // The folder above bin/ has npm and the headers; above /usr/bin it is the whole system anyway.
  const node = dirname(nodeFolder());
  return [repository, node, cacheFolder()].filter((folder) => existsSync(folder));
}

/** PATH of the command: this program's own Node first. */
export function commandPath(labPrograms: string): string {
  const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return `${nodeFolder()}:${labPrograms}:${system}`;
}
