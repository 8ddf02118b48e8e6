/** A tree's contents as checksums, to prove what changed and what did not. */
import { createHash, hash } from "node:crypto";
import { closeSync, openSync, readSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

/** Relative path -> SHA-256 of a file's bytes, or of a symlink's target. */
export type TreeManifest = ReadonlyMap<string, string>;

/** So often others get a turn: who holds the event loop for long can't answer the daemon's pings. */
const FILES_PER_TURN = 100;

export async function treeManifest(root: string): Promise<TreeManifest> {
  const manifest = new Map<string, string>();
  const walk = async (folder: string): Promise<void> => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      // ext4 makes lost+found; only root may look into it.
      if (path === "lost+found") continue;
      if (manifest.size % FILES_PER_TURN === 0) await setImmediate();
      if (entry.isDirectory()) await walk(path);
      else if (entry.isSymbolicLink()) manifest.set(path, sha256(readlinkSync(join(root, path))));
      else manifest.set(path, fileChecksum(join(root, path)));
    }
  };
  await walk("");
  return manifest;
}

/** Each file is read into the same memory: in an emulated kernel a fresh page costs as much as two calls. */
const readBuffer = Buffer.allocUnsafe(1 << 20);

function fileChecksum(path: string): string {
  const descriptor = openSync(path, "r");
  try {
    let lengthBytes = readSync(descriptor, readBuffer);
    // A short read of a regular file ends at its end (read(2)).
    if (lengthBytes < readBuffer.length) return sha256(readBuffer.subarray(0, lengthBytes));
    const whole = createHash("sha256");
    for (; lengthBytes > 0; lengthBytes = readSync(descriptor, readBuffer)) {
      whole.update(readBuffer.subarray(0, lengthBytes));
    }
    return whole.digest("hex");
  } finally {
    closeSync(descriptor);
  }
}

/** One checksum for a whole tree. */
export function treeChecksum(manifest: TreeManifest): string {
  const lines = [...manifest].map(([path, sum]) => `${sum}  ${path}`);
  return sha256(lines.toSorted().join("\n"));
}

export function sha256(data: Buffer | string): string {
  return hash("sha256", data, "hex");
}
