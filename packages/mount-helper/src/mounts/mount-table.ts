/** How a device is mounted for a caller: fixed here, and no caller's word changes it. */
import type { MountFlags, MountIdMap } from "@thinpool/thinpool";
import type { MountForm } from "../references/record.ts";

/** The only filesystems that are mounted; what is not in this table is not. */
export type MountableType = "ext4" | "xfs";

type Options = Readonly<Record<string, string | true>>;

/**
 * ext4 stops writing at the first sign of damage; xfs refuses a second filesystem with the same uuid,
 * and a clone has its origin's.
 */
export const MOUNT_OPTIONS: Readonly<Record<MountableType, Options>> = {
  ext4: { errors: "remount-ro" },
  xfs: { nouuid: true },
};

/** Read-only means that nothing is written, the journal's replay included. */
export const READ_ONLY_OPTIONS: Readonly<Record<MountableType, Options>> = {
  ext4: { noload: true },
  xfs: { norecovery: true },
};

export function mountOptions(type: MountableType, { readOnly }: MountForm): Options {
  return { ...MOUNT_OPTIONS[type], ...(readOnly ? READ_ONLY_OPTIONS[type] : {}) };
}

/** A set-user-id file or a device node inside a caller's filesystem must be worth nothing. */
export function mountFlags({ readOnly, noExec, noSymFollow }: MountForm): MountFlags {
  return {
    noSuid: true,
    noDev: true,
    ...(readOnly ? { readOnly } : {}),
    ...(noExec ? { noExec } : {}),
    ...(noSymFollow ? { noSymFollow } : {}),
  };
}

/** On the disk all belongs to root, in the mount to the device's owner. Root's own are as they are. */
export function idMapFor(owner: {
  readonly uid: number;
  readonly gid: number;
}): MountIdMap | undefined {
  if (owner.uid === 0) return undefined;
  return { insideUid: 0, outsideUid: owner.uid, insideGid: 0, outsideGid: owner.gid };
}
