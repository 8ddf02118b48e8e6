/** errno: names, and the one function that makes a NativeError of it. */
import { constants } from "node:os";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { NativeError } from "../errors.ts";
import type { NativeErrorCode } from "../errors.ts";

export type ErrnoName = keyof typeof constants.errno;

/** Numbers by name, this platform's own. */
export const ERRNO: Readonly<Record<ErrnoName, number>> = constants.errno;

/** Names that libuv has no word for (asm-generic/errno.h). */
const MORE_NAMES: ReadonlyMap<number, string> = new Map([
  [35, "EDEADLK"],
  [43, "EIDRM"],
  [61, "ENODATA"],
  [62, "ETIME"],
  [74, "EBADMSG"],
  [84, "EILSEQ"],
  [117, "EUCLEAN"],
  [124, "EMEDIUMTYPE"],
]);

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** "EBUSY" for 16; "E<number>" where nobody knows it. */
export function errnoName(errno: number): string {
  // os.constants lists EWOULDBLOCK and EAGAIN, ENOTSUP and EOPNOTSUPP under one number: libuv's name first.
  if (errno === ERRNO.EAGAIN) return "EAGAIN";
  if (errno === ERRNO.EOPNOTSUPP) return "EOPNOTSUPP";
  return NAMES.get(errno) ?? MORE_NAMES.get(errno) ?? systemName(errno);
}

function systemName(errno: number): string {
  const name = errno > 0 ? getSystemErrorName(-errno) : "";
  return name.startsWith("Unknown") || name === "" ? `E${errno}` : name;
}

interface Explanation {
  readonly code: NativeErrorCode;
  readonly reason: string;
  readonly hint: string;
}

const CAPABILITY: Explanation = {
  code: "NATIVE_PERMISSION",
  reason: "the kernel refused the caller",
  hint: "It needs CAP_SYS_ADMIN in the initial user namespace: run as root.",
};

const NOT_FOUND: Explanation = {
  code: "NATIVE_NOT_FOUND",
  reason: "there is no such device or file",
  hint: "Check its name; another process may have removed it.",
};

const EXPLANATIONS: Readonly<Partial<Record<ErrnoName, Explanation>>> = {
  EPERM: CAPABILITY,
  EACCES: CAPABILITY,
  ENXIO: NOT_FOUND,
  ENOENT: NOT_FOUND,
  ENODEV: NOT_FOUND,
  ENODATA: NOT_FOUND,
  EBUSY: {
    code: "NATIVE_BUSY",
    reason: "somebody has it open, mounted, or in use by another device",
    hint: "Look for the holder in /sys/dev/block/MAJOR:MINOR/holders and /proc/*/mountinfo, release it, try again.",
  },
  EEXIST: {
    code: "NATIVE_EXISTS",
    reason: "the name, uuid or id is taken",
    hint: "Choose another, or remove the present one first.",
  },
  EINVAL: {
    code: "NATIVE_INVALID",
    reason: "the kernel refused an argument",
    hint: "The kernel log (dmesg) tells which one.",
  },
  ENOSPC: {
    code: "NATIVE_NO_SPACE",
    reason: "no space is left",
    hint: "Free space on the device or filesystem, or extend it.",
  },
  ENOTTY: {
    code: "NATIVE_UNSUPPORTED",
    reason: "this kernel or device does not know the command",
    hint: "A newer kernel or another kind of device is needed.",
  },
  ENOSYS: {
    code: "NATIVE_UNSUPPORTED",
    reason: "this kernel does not have the call",
    hint: "A newer kernel is needed.",
  },
  EOPNOTSUPP: {
    code: "NATIVE_REFUSED",
    reason: "the device does not support this, or not in its present state",
    hint: "Read its status: a read-only or failed device refuses changes.",
  },
  ETIMEDOUT: {
    code: "NATIVE_TIMEOUT",
    reason: "a limit of time was reached",
    hint: "Look in the kernel log for what the device waits for.",
  },
};

const FALLBACK_HINT = "The kernel log (dmesg) may tell more.";

export interface NativeErrnoInit {
  /** The kernel's word for the call: "DM_DEV_REMOVE", "LOOP_CONFIGURE". */
  readonly operation: string;
  readonly object: string;
  /** Positive. */
  readonly errno: number;
  /** These three replace what the errno alone tells. */
  readonly code?: NativeErrorCode;
  readonly reason?: string;
  readonly hint?: string;
  readonly cause?: unknown;
}

export function nativeErrorFromErrno(init: NativeErrnoInit): NativeError {
  const name = errnoName(init.errno);
  const known = EXPLANATIONS[name as ErrnoName];
  return new NativeError({
    code: init.code ?? known?.code ?? "NATIVE_IO",
    operation: init.operation,
    object: init.object,
    errno: init.errno,
    errnoName: name,
    reason: init.reason ?? known?.reason ?? getSystemErrorMessage(-init.errno) ?? name,
    hint: init.hint ?? known?.hint ?? FALLBACK_HINT,
    ...(init.cause === undefined ? {} : { cause: init.cause }),
  });
}

/** The errno of an error thrown by Node's fs, 0 if it carries none. */
export function errnoOfNodeError(error: unknown): number {
  const errno = (error as { errno?: unknown } | null | undefined)?.errno;
  return typeof errno === "number" ? Math.abs(errno) : 0;
}
