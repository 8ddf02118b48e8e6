/** A tree's contents as checksums, to prove what changed and what did not. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Relative path -> SHA-256 of a file's bytes, or of a symlink's target. */
export type TreeManifest = ReadonlyMap<string, string>;

export function treeManifest(root: string): TreeManifest {
  const manifest = new Map<string, string>();
  const walk = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      // ext4 makes lost+found; only root may look into it.
      if (path === "lost+found") continue;
      if (entry.isDirectory()) walk(path);
      else if (entry.isSymbolicLink()) manifest.set(path, sha256(readlinkSync(join(root, path))));
      else manifest.set(path, sha256(readFileSync(join(root, path))));
    }
  };
  walk("");
  return manifest;
}

/** One checksum for a whole tree. */
export function treeChecksum(manifest: TreeManifest): string {
  const lines = [...manifest].map(([path, sum]) => `${sum}  ${path}`);
  return sha256(lines.toSorted().join("\n"));
}

export function sha256(data: Buffer | string): string {
  return createHash("sha256").update(data).digest("hex");
}
