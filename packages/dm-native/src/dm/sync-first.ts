/** The file that is to be on its disk before a run of commands begins: `DmRunOptions.syncFirst`. */
import { fdatasync } from "node:fs";
import type { NativeError } from "../errors.ts";
import { errnoOfNodeError, nativeErrorFromErrno } from "../sys/errno.ts";
import type { OpenFile } from "./device-mapper.ts";

export function syncFailure(path: string, errno: number): NativeError {
  return nativeErrorFromErrno({ operation: "fdatasync", object: path, errno });
}

/** On libuv's pool. Undefined: it is on the disk. */
export function syncByNode({ fd, path }: OpenFile): Promise<NativeError | undefined> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => {
      const errno = error === null ? 0 : errnoOfNodeError(error);
      if (error === null) resolve(undefined);
      else if (errno === 0) reject(error);
      else resolve(syncFailure(path, errno));
    });
  });
}
