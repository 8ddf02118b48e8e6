/** The names in an archive, judged before anything is done with them. Pure. */
import { quoted, refuseArchive } from "../tar/reader.ts";

/** PATH_MAX without its NUL, and NAME_MAX. */
export const MAX_PATH_BYTES = 4095;
export const MAX_NAME_BYTES = 255;
/** Folders in folders: far from what any tool bears badly. */
export const MAX_DEPTH = 256;

export interface TreePath {
  /** Without "." and empty parts; "" is the top. */
  readonly path: string;
  readonly folder: string;
  readonly name: string;
}

/** Throws RequestError with ARCHIVE_REFUSED: absolute, "..", too long, too deep. */
export function treePath(written: string): TreePath {
  const refuse = (reason: string, hint?: string): never => {
    throw refuseArchive(quoted(written), reason, hint);
  };
  if (written.includes("\0")) refuse("its path has a NUL in it");
  if (written.startsWith("/")) refuse("its path is absolute", "Pack with relative paths.");
  const parts = written.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) refuse('its path has ".." in it', "Pack with plain relative paths.");
  if (parts.length > MAX_DEPTH) refuse(`it lies deeper than ${MAX_DEPTH} folders`);
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES)) {
    refuse(`a name is longer than ${MAX_NAME_BYTES} bytes`);
  }
  const path = parts.join("/");
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    refuse(`its path is longer than ${MAX_PATH_BYTES} bytes`);
  }
  return { path, folder: parts.slice(0, -1).join("/"), name: parts.at(-1) ?? "" };
}
