/** The one place where failures of the kernel, of node:fs and of SQLite become PoolErrors. */
import { NativeError, type NativeErrorCode } from "@thinpool/dm-native";
import { PoolError, type PoolErrorCode } from "./errors.ts";
import { LedgerCommitError } from "./store/commit-error.ts";

export interface ErrorContext {
  /** What the engine was doing, as a noun: "snapshot", "activation". */
  readonly operation: string;
  /** What it was done to. */
  readonly object: string;
  /** Where one code of the kernel means something particular for this operation. */
  readonly codes?: Partial<Record<NativeErrorCode, PoolErrorCode>>;
}

const BY_NATIVE_CODE: Readonly<Record<NativeErrorCode, PoolErrorCode>> = {
  NATIVE_PERMISSION: "POOL_PERMISSION",
  NATIVE_UNSUPPORTED: "POOL_UNSUPPORTED",
  NATIVE_BUSY: "DEVICE_BUSY",
  NATIVE_NOT_FOUND: "POOL_KERNEL",
  NATIVE_EXISTS: "POOL_MISMATCH",
  NATIVE_INVALID: "POOL_KERNEL",
  NATIVE_NO_SPACE: "POOL_NO_SPACE",
  NATIVE_TIMEOUT: "POOL_KERNEL",
  NATIVE_REFUSED: "POOL_NEEDS_REPAIR",
  NATIVE_PARSE: "POOL_KERNEL",
  NATIVE_IO: "POOL_KERNEL",
};

const FREE_SPACE = "Free some space on the filesystem that holds the pool's folder.";
const BY_ERRNO_NAME: Readonly<Record<string, readonly [PoolErrorCode, string] | undefined>> = {
  EACCES: ["POOL_PERMISSION", "Run as root, or give the process the right to this path."],
  EPERM: ["POOL_PERMISSION", "Run as root, or give the process the right to this path."],
  EROFS: ["POOL_PERMISSION", "Choose a folder on a filesystem that is mounted for writing."],
  ENOSPC: ["POOL_NO_SPACE", FREE_SPACE],
  EDQUOT: ["POOL_NO_SPACE", FREE_SPACE],
  EFBIG: ["POOL_OPTION_INVALID", "The filesystem of the folder can't hold a file of this size."],
  ENOENT: ["POOL_NOT_FOUND", "Check the path."],
  ENOTDIR: ["POOL_OPTION_INVALID", "Name a folder, not a file."],
};

/** Primary result codes, sqlite3.h. */
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

export function poolErrorFrom(error: unknown, context: ErrorContext): PoolError {
  if (error instanceof PoolError) return error;
  if (error instanceof LedgerCommitError) return poolErrorFrom(error.cause, context);
  const { operation, object } = context;
  if (error instanceof NativeError) {
    // Of an errno that says nothing of the kernel's devices.
    const known = error.code === "NATIVE_IO" ? BY_ERRNO_NAME[error.errnoName ?? ""] : undefined;
    return new PoolError({
      code: context.codes?.[error.code] ?? known?.[0] ?? BY_NATIVE_CODE[error.code],
      operation,
      object,
      reason: `${error.operation} of ${error.object}: ${error.reason}`,
      hint: known?.[1] ?? error.hint,
      errno: error.errno,
      ...(error.errnoName === undefined ? {} : { errnoName: error.errnoName }),
      cause: error,
    });
  }
  if (error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError")) {
    return new PoolError({
      code: "POOL_ABORTED",
      operation,
      object,
      reason: error.message,
      hint: "It was ended by its caller; ask again to have it done.",
      cause: error,
    });
  }
  if (error instanceof Error && "errcode" in error && typeof error.errcode === "number") {
    const [code, hint] = sqliteCode(error.errcode & 0xff);
    const reason = `the ledger failed: ${error.message}`;
    return new PoolError({ code, operation, object, reason, hint, cause: error });
  }
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    const known = BY_ERRNO_NAME[error.code];
    return new PoolError({
      code: known?.[0] ?? "POOL_KERNEL",
      operation,
      object,
      reason: error.message,
      hint: known?.[1] ?? "Look at the kernel's log (dmesg).",
      ...("errno" in error && typeof error.errno === "number"
        ? { errno: Math.abs(error.errno) }
        : {}),
      errnoName: error.code,
      cause: error,
    });
  }
  return new PoolError({
    code: "POOL_KERNEL",
    operation,
    object,
    reason: error instanceof Error ? error.message : String(error),
    hint: "This was not expected: please report it with the cause.",
    cause: error,
  });
}

function sqliteCode(primary: number): readonly [PoolErrorCode, string] {
  switch (primary) {
    case SQLITE_BUSY:
      return ["POOL_LOCKED", "Close the other program that has pool.sqlite open."];
    case SQLITE_FULL:
      return ["POOL_NO_SPACE", FREE_SPACE];
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ["POOL_MISMATCH", "pool.sqlite is damaged: put a copy back from a backup."];
    default:
      return ["POOL_KERNEL", "Look at the disk that holds the pool's folder (dmesg)."];
  }
}

export function isNative(error: unknown, code: NativeErrorCode): boolean {
  return error instanceof NativeError && error.code === code;
}

/** One of node:fs, with this code: "ENOENT". */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
