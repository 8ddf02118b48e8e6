/** One owner per folder: a lock that ends with its process. */
import { type FileLock, lockFile } from "@thinpool/dm-native";
import { poolErrorFrom } from "./errors-from-native.ts";
import type { FolderPaths } from "./folder.ts";

/** POOL_LOCKED where another process (or this one) has the pool open; the reason names its pid. */
export function lockPool(paths: FolderPaths, operation: string): FileLock {
  try {
    return lockFile(paths.lock);
  } catch (error) {
    throw poolErrorFrom(error, {
      operation,
      object: paths.folder,
      codes: { NATIVE_BUSY: "POOL_LOCKED" },
    });
  }
}
