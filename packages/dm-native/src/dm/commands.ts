/** The 18 commands of linux/dm-ioctl.h: one row each, read by the funnel only. */
import { requestReadWrite } from "../sys/ioctl.ts";
import type { ErrnoName } from "../sys/errno.ts";
import type { NativeErrorCode } from "../errors.ts";
import type { DmVersion } from "./device-mapper.ts";
import { DM_FLAG, HEADER_BYTES } from "./header.ts";

/** DM_IOCTL */
const IOCTL_TYPE = 0xfd;

/**
 * Where a command runs.
 * - "here": it takes locks and memory, waits for no I/O, and is done in microseconds;
 * - "pool": it waits no longer than a disk does (libuv's pool);
 * - "lane": it may wait as long as I/O is stuck (threads of our own);
 * - "events": it waits for something to happen (other threads of our own).
 */
export type CommandPlace = "here" | "pool" | "lane" | "events";

interface ErrorMeaning {
  readonly code?: NativeErrorCode;
  readonly reason?: string;
  readonly hint?: string;
}

export interface CommandSpec {
  readonly request: number;
  /** The lowest interface that knows the command: sent, so that older kernels answer too. */
  readonly needs: DmVersion;
  /** The flags a caller may set; others are cleared. */
  readonly flags: number;
  /** What event_nr means here; it is zero where it means nothing (newer kernels insist). */
  readonly eventNr: "none" | "event" | "cookie";
  /** Whether the kernel answers with data after the header. */
  readonly replies: boolean;
  readonly place: CommandPlace;
  /**
   * It waits for I/O in flight in a way that any signal ends (dm.c: dm_wait_for_completion), also one that stops
   * or freezes the process; nothing of it was done then. Kernels before 6.11 answer EINTR, later ones, and what
   * was backported, begin it again by themselves.
   */
  readonly interruptible?: true;
  /** Where an errno says more than it says everywhere. */
  readonly errors?: Readonly<Partial<Record<ErrnoName, ErrorMeaning>>>;
}

const NAME_TAKEN: ErrorMeaning = {
  code: "NATIVE_EXISTS",
  reason: "the name or the uuid is taken",
  hint: "Choose another, or remove the present device first (dmsetup info -c lists them).",
};

function since(minor: number): DmVersion {
  return { major: 4, minor, patch: 0 };
}

function row(
  number: number,
  spec: Partial<Omit<CommandSpec, "request">> & Pick<CommandSpec, "place">,
): CommandSpec {
  return {
    request: requestReadWrite(IOCTL_TYPE, number, HEADER_BYTES),
    needs: since(0),
    flags: 0,
    eventNr: "none",
    replies: false,
    ...spec,
  };
}

const QUERY_FLAGS = DM_FLAG.QUERY_INACTIVE_TABLE | DM_FLAG.NOFLUSH | DM_FLAG.STATUS_TABLE;

export type DmCommand =
  | "DM_VERSION"
  | "DM_REMOVE_ALL"
  | "DM_LIST_DEVICES"
  | "DM_DEV_CREATE"
  | "DM_DEV_REMOVE"
  | "DM_DEV_RENAME"
  | "DM_DEV_SUSPEND"
  | "DM_DEV_RESUME"
  | "DM_DEV_STATUS"
  | "DM_DEV_WAIT"
  | "DM_TABLE_LOAD"
  | "DM_TABLE_CLEAR"
  | "DM_TABLE_DEPS"
  | "DM_TABLE_STATUS"
  | "DM_TABLE_STATUS_NOFLUSH"
  | "DM_TABLE_STATUS_TABLE"
  | "DM_LIST_VERSIONS"
  | "DM_TARGET_MSG"
  | "DM_DEV_SET_GEOMETRY"
  | "DM_DEV_ARM_POLL"
  | "DM_GET_TARGET_VERSION";

export const COMMANDS: Readonly<Record<DmCommand, CommandSpec>> = {
  DM_VERSION: row(0, { place: "here" }),
  DM_REMOVE_ALL: row(1, { place: "lane", flags: DM_FLAG.DEFERRED_REMOVE }),
  DM_LIST_DEVICES: row(2, { place: "here", flags: DM_FLAG.UUID, replies: true }),
  DM_DEV_CREATE: row(3, {
    place: "here",
    flags: DM_FLAG.PERSISTENT_DEV,
    errors: {
      EBUSY: NAME_TAKEN,
      // dm.c, dm_create: whatever alloc_dev can't do.
      ENXIO: {
        code: "NATIVE_EXISTS",
        reason: "the minor number is taken, or the kernel can't make one more device",
        hint: "Choose another minor number or none; the kernel log (dmesg) tells more.",
      },
    },
  }),
  // Destroying a pool's table commits its metadata.
  DM_DEV_REMOVE: row(4, { place: "lane", flags: DM_FLAG.DEFERRED_REMOVE, eventNr: "cookie" }),
  DM_DEV_RENAME: row(5, {
    place: "pool",
    flags: DM_FLAG.UUID,
    eventNr: "cookie",
    replies: true,
    errors: {
      EBUSY: NAME_TAKEN,
      EINVAL: {
        reason: "the name is not allowed, or the device has a uuid already",
        hint: "A uuid can be set once; choose another name.",
      },
    },
  }),
  DM_DEV_SUSPEND: row(6, {
    place: "lane",
    interruptible: true,
    flags: DM_FLAG.SUSPEND | DM_FLAG.NOFLUSH | DM_FLAG.SKIP_LOCKFS,
  }),
  /** The same number without DM_SUSPEND_FLAG. It suspends where it swaps a live table. */
  DM_DEV_RESUME: row(6, {
    place: "pool",
    interruptible: true,
    flags: DM_FLAG.NOFLUSH | DM_FLAG.SKIP_LOCKFS,
    eventNr: "cookie",
  }),
  DM_DEV_STATUS: row(7, { place: "here", flags: DM_FLAG.QUERY_INACTIVE_TABLE }),
  DM_DEV_WAIT: row(8, { place: "events", flags: QUERY_FLAGS, eventNr: "event", replies: true }),
  DM_TABLE_LOAD: row(9, {
    place: "pool",
    flags: DM_FLAG.READONLY,
    replies: true,
    errors: {
      EINVAL: {
        reason: "the kernel refused the table",
        hint: "The kernel log (dmesg) says which parameter; the target's module may be missing (modprobe dm-thin-pool).",
      },
      ENXIO: {
        reason: "there is no such device, or a device named in the table is missing or too small",
        hint: "Check the device and those of its table; the kernel log (dmesg) names the line.",
      },
      EBUSY: {
        reason: "a device of the table is in use by somebody else",
        hint: "See /sys/dev/block/MAJOR:MINOR/holders and /proc/*/mountinfo of the table's devices.",
      },
    },
  }),
  DM_TABLE_CLEAR: row(10, { place: "pool" }),
  DM_TABLE_DEPS: row(11, { place: "here", flags: DM_FLAG.QUERY_INACTIVE_TABLE, replies: true }),
  /** The status of the targets. Without noflush a thin pool commits, and a sick one hangs. */
  DM_TABLE_STATUS: row(12, { place: "lane", flags: QUERY_FLAGS, replies: true }),
  /** The same number with DM_NOFLUSH: it may still wait for a commit in flight. */
  DM_TABLE_STATUS_NOFLUSH: row(12, { place: "pool", flags: QUERY_FLAGS, replies: true }),
  /** The same number with DM_STATUS_TABLE: the targets print what they were given. */
  DM_TABLE_STATUS_TABLE: row(12, { place: "here", flags: QUERY_FLAGS, replies: true }),
  DM_LIST_VERSIONS: row(13, { place: "here", needs: since(1), replies: true }),
  // Each accepted message of a pool commits its metadata.
  DM_TARGET_MSG: row(14, {
    place: "lane",
    needs: since(2),
    replies: true,
    errors: {
      EEXIST: {
        reason: "the id is taken",
        hint: "Choose another id; thin_ls lists those in use.",
      },
      ENODATA: {
        reason: "the pool has no device of this id",
        hint: "Check the id; thin_ls lists those in use.",
      },
      EBUSY: {
        reason: "the thin device is active, or a metadata snapshot is held already",
        hint: "Deactivate the thin device (remove it from /dev/mapper), or release the metadata snapshot.",
      },
      EINVAL: {
        reason: "the target does not know the message, or not with these arguments",
        hint: "The kernel log (dmesg) says why; for set_transaction_id read the pool's status first.",
      },
      EOPNOTSUPP: {
        reason: "the pool is read-only or failed and takes no message",
        hint: "Read the pool's status; it needs more metadata space or a repair first.",
      },
    },
  }),
  DM_DEV_SET_GEOMETRY: row(15, {
    place: "here",
    needs: since(6),
    replies: true,
    errors: {
      EINVAL: {
        reason: "the geometry does not fit the device",
        hint: "The device needs a live table, and the start must lie inside of it.",
      },
    },
  }),
  DM_DEV_ARM_POLL: row(16, { place: "here", needs: since(36) }),
  DM_GET_TARGET_VERSION: row(17, { place: "here", needs: since(41), replies: true }),
};

/** The interface that a flag needs, where it is newer than the command. */
export const FLAG_NEEDS: ReadonlyMap<number, DmVersion> = new Map([
  [DM_FLAG.QUERY_INACTIVE_TABLE, since(16)],
  [DM_FLAG.DEFERRED_REMOVE, since(27)],
]);

/** Setting a uuid; the same flag in a list only asks for uuids and is ignored by older kernels. */
export const SET_UUID_NEEDS: DmVersion = since(19);
