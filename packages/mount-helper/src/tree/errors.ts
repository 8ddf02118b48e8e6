/** What the kernel refused, as one entry's failure. */
import type { ErrorCode } from "@thinpool/protocol";
import { NativeError } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import { quoted } from "../tar/reader.ts";

/** By errno: who has to do something about it. */
const BY_ERRNO: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ["NO_SPACE", "no space is left on the device"],
  EDQUOT: ["NO_SPACE", "no space is left on the device"],
  EFBIG: ["NO_SPACE", "it is larger than a file may be"],
  EACCES: ["FORBIDDEN", "the files' own rights do not let you"],
  EPERM: ["FORBIDDEN", "the files' own rights do not let you"],
  EROFS: ["FORBIDDEN", "the filesystem is read-only"],
  ENAMETOOLONG: ["ARCHIVE_REFUSED", "its name is too long"],
  ENOTDIR: ["ARCHIVE_REFUSED", "what it lies in is no folder"],
  ELOOP: ["ARCHIVE_REFUSED", "a symbolic link is on the way, and none is followed"],
  EXDEV: ["ARCHIVE_REFUSED", "its way leads out of the device"],
  EISDIR: ["ARCHIVE_REFUSED", "a folder is in its place"],
  ENOENT: ["ARCHIVE_REFUSED", "what it needs is not there"],
  EEXIST: ["ARCHIVE_REFUSED", "something else is in its place"],
  EMLINK: ["ARCHIVE_REFUSED", "the filesystem has no more links for one file"],
  EINVAL: ["ARCHIVE_REFUSED", "the filesystem does not have such names"],
};

export function errnoNameOf(error: unknown): string | undefined {
  if (error instanceof NativeError) return error.errnoName;
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** What is no errno's goes through as it is. */
export function entryError(error: unknown, operation: "pack" | "unpack", path: string): unknown {
  const errnoName = errnoNameOf(error);
  if (error instanceof RequestError || errnoName === undefined) return error;
  const [found, reason] = BY_ERRNO[errnoName] ?? ["INTERNAL", "the kernel refused it"];
  const code = found === "ARCHIVE_REFUSED" && operation === "pack" ? "UNSUPPORTED" : found;
  return new RequestError({ code, operation, object: quoted(path), reason, errnoName });
}
