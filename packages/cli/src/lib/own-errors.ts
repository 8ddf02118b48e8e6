/**
 * The codes that are not on the wire, for `explain`: of what works on the pool or the kernel itself, of the
 * daemon's start, and the command line's own. The hint that is printed with an error knows the case; this
 * is what goes for all of them.
 */
import type { NativeErrorCode } from "@thinpool/dm-native";
import type { StartErrorCode } from "@thinpool/mount-helper";
import type { ErrorCode } from "@thinpool/protocol";
import type { ClientErrorCode } from "@thinpool/sdk";
import type { PoolErrorCode } from "@thinpool/thinpool";
import type { CommandErrorCode } from "./exit-codes.ts";

/** Complete by type. */
type OwnErrorCode = Exclude<
  PoolErrorCode | NativeErrorCode | StartErrorCode | CommandErrorCode,
  ErrorCode | ClientErrorCode
>;

/** What it means, and what to do. */
const OWN: Readonly<Record<OwnErrorCode, readonly [meaning: string, hint: string]>> = {
  USAGE: ["The command was not called as it has to be.", "Run it with --help."],
  NO_IMAGE: ["The device is no image.", "See thinpool image list, or publish it."],
  NO_BACKUP: ["The pool has no such backup.", "See thinpool pool backup --list."],
  NO_FOLDER: ["The folder to copy is not there, or is none.", "Name a folder that is there."],
  NO_ARCHIVE: ["The archive is not there.", "Name an archive or a folder, or - for stdin."],
  FILE_EXISTS: ["A file of that name is there.", "Name another, or write over it with --force."],
  NOT_ROOT: ["Only root can do this.", "Run it as root, or ask the daemon for it."],
  PROGRAM_MISSING: ["A program that it needs is not installed.", "Install it; see doctor."],
  COPY_FAILED: ["What was to be copied could not be, or not whole.", "See the reason."],
  NO_JOURNAL: ["There is no journal of the service.", "Look where the daemon's stderr was sent."],
  SOCKET_IN_USE: [
    "Another daemon has the socket, or it is no socket.",
    "Stop that daemon, or give another --socket.",
  ],
  OPTION_INVALID: ["An option of the daemon can't be right.", "Correct what the reason names."],
  POLICY_INVALID: [
    "The policy file can't be read, is not root's alone, or says what can't be.",
    "See thinpool policy show: it says all that is wrong.",
  ],
  SERVICE_MANAGER: ["systemd refused what was asked of it.", "See the reason, and journalctl."],
  POOL_OVERLOADED: ["Too many operations wait.", "Try again."],
  POOL_NAME_INVALID: [
    "A name breaks the rules for names.",
    "Use 1 to 64 letters, digits, '.', '_', '+' or '-', the first a letter or digit.",
  ],
  POOL_OPTION_INVALID: ["The request can't be right.", "Correct what the reason names."],
  POOL_LOCKED: [
    "Another process has the pool's folder; the reason names its pid.",
    "Ask its daemon, without --direct, or stop it.",
  ],
  POOL_NOT_FOUND: ["The folder holds no pool.", "Name another --folder, or make the pool."],
  POOL_EXISTS: ["The folder holds a pool already.", "Serve that, or name another --folder."],
  POOL_MISMATCH: [
    "What was found is not what the pool's records say; nothing was touched.",
    "See thinpool pool check --direct.",
  ],
  POOL_DEVICE_NOT_EMPTY: [
    "A given device carries something, or is in use.",
    "Name another, or wipe it (wipefs) if nothing on it is needed.",
  ],
  POOL_TOO_SMALL: ["The pool would be too small.", "Give it the size that the reason names."],
  POOL_NO_SPACE: [
    "The pool, or the filesystem of its folder, has too little space left.",
    "Remove devices, extend the pool, or free space on that filesystem.",
  ],
  POOL_NEEDS_REPAIR: [
    "The pool's metadata is damaged.",
    "Run thinpool pool repair, else thinpool pool restore.",
  ],
  POOL_NEEDS_CHECK: [
    "An operation on the pool's metadata failed; it takes no changes until it was checked.",
    "Stop the daemon, then run thinpool pool repair.",
  ],
  POOL_READ_ONLY: [
    "The pool takes no changes, mostly for want of space for its metadata.",
    "Extend the metadata (thinpool pool extend).",
  ],
  POOL_FAILED: [
    "The pool does nothing any more.",
    "Look at the kernel's log (dmesg), then run thinpool pool repair.",
  ],
  POOL_TOOL_MISSING: [
    "A tool is not installed, so the metadata's health is not known.",
    "Install the package thin-provisioning-tools.",
  ],
  POOL_TOOL_FAILED: [
    "A tool ran and did not say how the metadata is.",
    "See the reason, and the kernel's log (dmesg).",
  ],
  POOL_SNAPSHOT_BUSY: [
    "The one snapshot of the metadata is held by another, or was for too long.",
    "Wait until the other backup or check has ended.",
  ],
  POOL_CLOSED: ["The pool was closed.", "Open it again."],
  POOL_EVENTS_LOST: ["Events so old are no longer kept.", "List the devices anew."],
  POOL_ABORTED: ["It was ended by its caller.", "Ask again to have it done."],
  POOL_PERMISSION: ["It takes root, or a folder of one's own.", "Run it as root."],
  POOL_UNSUPPORTED: [
    "This machine has no thin provisioning, or no mkfs.",
    "Run thinpool doctor: it says what mends it.",
  ],
  POOL_KERNEL: [
    "The kernel or a program reported something else.",
    "See the reason, and the kernel's log (dmesg).",
  ],
  DEVICE_NOT_FOUND: ["The pool has no such device.", "See thinpool device list."],
  DEVICE_EXISTS: ["A device of this name exists.", "Choose another name."],
  DEVICE_BUSY: ["The device is mounted or open.", "Unmount it, or end what has it open."],
  DEVICE_INACTIVE: ["The device is not active.", "Mount or activate it first."],
  NATIVE_PERMISSION: ["The kernel refused the caller.", "Run it as root."],
  NATIVE_UNSUPPORTED: ["The kernel lacks what is needed.", "Run thinpool doctor."],
  NATIVE_BUSY: ["Somebody holds it.", "Unmount it, or end what has it open."],
  NATIVE_NOT_FOUND: ["The kernel has no such device or file.", "Check the name."],
  NATIVE_EXISTS: ["The name or id is taken.", "Choose another."],
  NATIVE_INVALID: ["An argument was refused, here or by the kernel.", "See the reason."],
  NATIVE_NO_SPACE: ["There is no space left.", "Free some."],
  NATIVE_TIMEOUT: ["A limit of time or size was reached.", "See the reason; try again."],
  NATIVE_REFUSED: ["The device's state forbids it.", "See thinpool pool status."],
  NATIVE_PARSE: ["What the kernel said could not be read.", "Report it with the message."],
  NATIVE_IO: ["The kernel reported another error.", "Look at the kernel's log (dmesg)."],
};

const AGAIN: ReadonlySet<string> = new Set<OwnErrorCode>([
  "POOL_OVERLOADED",
  "POOL_LOCKED",
  "POOL_SNAPSHOT_BUSY",
  "POOL_NO_SPACE",
  "DEVICE_BUSY",
  "NATIVE_BUSY",
  "NATIVE_NO_SPACE",
  "NATIVE_TIMEOUT",
]);

export interface OwnExplanation {
  readonly code: string;
  readonly number: undefined;
  /** It arises where a command works by itself, or the daemon starts. */
  readonly side: "command";
  readonly retryable: boolean;
  readonly meaning: string;
  readonly hint: string;
}

export const ownErrorCodes: readonly string[] = Object.keys(OWN);

export function explainOwn(code: string): OwnExplanation | undefined {
  if (!Object.hasOwn(OWN, code)) return undefined;
  const [meaning, hint] = OWN[code as OwnErrorCode];
  return { code, number: undefined, side: "command", retryable: AGAIN.has(code), meaning, hint };
}
