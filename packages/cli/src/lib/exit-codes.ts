/** The exit codes of `thinpool`, and which error leads to which; documented in the README. */
import type { NativeErrorCode } from "@thinpool/dm-native";
import type { StartErrorCode } from "@thinpool/mount-helper";
import type { ErrorCode } from "@thinpool/protocol";
import type { ClientErrorCode } from "@thinpool/sdk";
import type { PoolErrorCode } from "@thinpool/thinpool";

export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  refused: 4,
  busy: 5,
  noSpace: 6,
  unreachable: 7,
  needsRepair: 8,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const ofPool: Readonly<Record<PoolErrorCode, ExitCode>> = {
  POOL_NAME_INVALID: exitCodes.usage,
  POOL_OPTION_INVALID: exitCodes.usage,
  POOL_LOCKED: exitCodes.busy,
  POOL_NOT_FOUND: exitCodes.notFound,
  POOL_EXISTS: exitCodes.failed,
  POOL_MISMATCH: exitCodes.needsRepair,
  POOL_DEVICE_NOT_EMPTY: exitCodes.refused,
  POOL_TOO_SMALL: exitCodes.usage,
  POOL_NO_SPACE: exitCodes.noSpace,
  POOL_NEEDS_REPAIR: exitCodes.needsRepair,
  POOL_NEEDS_CHECK: exitCodes.needsRepair,
  POOL_READ_ONLY: exitCodes.noSpace,
  POOL_FAILED: exitCodes.needsRepair,
  POOL_TOOL_MISSING: exitCodes.failed,
  POOL_TOOL_FAILED: exitCodes.failed,
  POOL_SNAPSHOT_BUSY: exitCodes.busy,
  POOL_DEGRADED: exitCodes.needsRepair,
  POOL_CLOSED: exitCodes.failed,
  POOL_EVENTS_LOST: exitCodes.failed,
  POOL_ABORTED: exitCodes.failed,
  POOL_OVERLOADED: exitCodes.busy,
  POOL_PERMISSION: exitCodes.refused,
  POOL_UNSUPPORTED: exitCodes.failed,
  POOL_KERNEL: exitCodes.failed,
  DEVICE_NOT_FOUND: exitCodes.notFound,
  DEVICE_EXISTS: exitCodes.failed,
  DEVICE_BUSY: exitCodes.busy,
  DEVICE_INACTIVE: exitCodes.failed,
};

const ofKernel: Readonly<Record<NativeErrorCode, ExitCode>> = {
  NATIVE_PERMISSION: exitCodes.refused,
  NATIVE_UNSUPPORTED: exitCodes.failed,
  NATIVE_BUSY: exitCodes.busy,
  NATIVE_NOT_FOUND: exitCodes.notFound,
  NATIVE_EXISTS: exitCodes.failed,
  NATIVE_INVALID: exitCodes.failed,
  NATIVE_NO_SPACE: exitCodes.noSpace,
  NATIVE_TIMEOUT: exitCodes.failed,
  NATIVE_REFUSED: exitCodes.needsRepair,
  NATIVE_PARSE: exitCodes.failed,
  NATIVE_IO: exitCodes.failed,
};

const ofDaemon: Readonly<Record<ErrorCode, ExitCode>> = {
  PARSE_ERROR: exitCodes.failed,
  INVALID_REQUEST: exitCodes.failed,
  METHOD_NOT_FOUND: exitCodes.failed,
  INVALID_PARAMS: exitCodes.usage,
  INTERNAL: exitCodes.failed,
  NAME_INVALID: exitCodes.usage,
  NOT_FOUND: exitCodes.notFound,
  EXISTS: exitCodes.failed,
  BUSY: exitCodes.busy,
  FORBIDDEN: exitCodes.refused,
  NOT_MOUNTED: exitCodes.notFound,
  NO_SPACE: exitCodes.noSpace,
  NEEDS_REPAIR: exitCodes.needsRepair,
  POOL_DEGRADED: exitCodes.needsRepair,
  LIMIT: exitCodes.refused,
  UNAVAILABLE: exitCodes.unreachable,
  TOO_LARGE: exitCodes.failed,
  TIMEOUT: exitCodes.failed,
  UNSUPPORTED: exitCodes.failed,
  CANCELLED: exitCodes.failed,
  SESSION_GONE: exitCodes.unreachable,
  KEY_REUSED: exitCodes.usage,
  ARCHIVE_REFUSED: exitCodes.failed,
  CHECKSUM_MISMATCH: exitCodes.failed,
  STREAM_LOST: exitCodes.failed,
};

const ofClient: Readonly<Record<ClientErrorCode, ExitCode>> = {
  DAEMON_UNREACHABLE: exitCodes.unreachable,
  SOCKET_FORBIDDEN: exitCodes.refused,
  UNAUTHORIZED: exitCodes.refused,
  TLS_FAILED: exitCodes.refused,
  CONNECTION_LOST: exitCodes.unreachable,
  CLIENT_CLOSED: exitCodes.failed,
  ABORTED: exitCodes.failed,
  PROTOCOL: exitCodes.failed,
  ARGUMENT_INVALID: exitCodes.usage,
};

const ofStart: Readonly<Record<StartErrorCode, ExitCode>> = {
  SOCKET_IN_USE: exitCodes.busy,
  OPTION_INVALID: exitCodes.usage,
  POLICY_INVALID: exitCodes.usage,
  SERVICE_MANAGER: exitCodes.failed,
};

export type CommandErrorCode =
  | "USAGE"
  /** A device that is meant as an image is none. */
  | "NO_IMAGE"
  | "NO_BACKUP"
  /** A folder that is to be copied is not there, or is none. */
  | "NO_FOLDER"
  | "NO_ARCHIVE"
  | "FILE_EXISTS"
  | "CHECKSUM_MISMATCH"
  /** It takes root, and nobody else can be let. */
  | "NOT_ROOT"
  /** A program that the command needs is not installed. */
  | "PROGRAM_MISSING"
  /** A folder could not be copied whole. */
  | "COPY_FAILED"
  /** There is no journal of a service to look at. */
  | "NO_JOURNAL"
  /** Ctrl-C. */
  | "CANCELLED";

const ofCommand: Readonly<Record<CommandErrorCode, ExitCode>> = {
  USAGE: exitCodes.usage,
  NO_IMAGE: exitCodes.notFound,
  NO_BACKUP: exitCodes.notFound,
  NO_FOLDER: exitCodes.notFound,
  NO_ARCHIVE: exitCodes.notFound,
  FILE_EXISTS: exitCodes.failed,
  CHECKSUM_MISMATCH: exitCodes.failed,
  NOT_ROOT: exitCodes.refused,
  PROGRAM_MISSING: exitCodes.failed,
  COPY_FAILED: exitCodes.failed,
  NO_JOURNAL: exitCodes.notFound,
  CANCELLED: exitCodes.failed,
};

const all: ReadonlyMap<string, ExitCode> = new Map(
  Object.entries({
    ...ofCommand,
    ...ofPool,
    ...ofKernel,
    ...ofDaemon,
    ...ofClient,
    ...ofStart,
  }),
);

export const codesWithExitCode: readonly string[] = [...all.keys()];

/** A newer daemon may send a code that this version does not know: that is a plain failure. */
export function exitCodeOf(errorCode: string): ExitCode {
  return all.get(errorCode) ?? exitCodes.failed;
}
