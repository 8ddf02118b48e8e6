/** The file that is to be on its disk before a run of commands begins: `DmRunOptions.syncFirst`. */
import { fdatasync } from "node:fs";
import { promisify } from "node:util";
import type { NativeError } from "../errors.ts";
import { errnoOfNodeError, nativeErrorFromErrno } from "../sys/errno.ts";
import type { OpenFile } from "./device-mapper.ts";

export function syncFailure(path: string, errno: number): NativeError {
  return nativeErrorFromErrno({ operation: "fdatasync", object: path, errno });
}

/** On libuv's pool. Undefined: it is on the disk. */
export async function syncByNode({ fd, path }: OpenFile): Promise<NativeError | undefined> {
  try {
    await promisify(fdatasync)(fd);
    return undefined;
  } catch (error) {
    const errno = errnoOfNodeError(error);
    if (errno === 0) throw error;
    return syncFailure(path, errno);
  }
}
