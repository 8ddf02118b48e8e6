/** How a device is mounted for a caller: fixed here, and no caller's word changes it. */
import type { MountFlags, MountIdMap } from "@thinpool/thinpool";

/** A set-user-id file or a device node inside a caller's filesystem must be worth nothing. */
export const MOUNT_FLAGS: MountFlags = { noSuid: true, noDev: true };

/**
 * Options of the filesystems that may be mounted; no others are. ext4 stops writing at the first sign
 * of damage; xfs refuses a second filesystem with the same uuid, and a clone has its origin's.
 */
export const MOUNT_OPTIONS: Readonly<
  Record<"ext4" | "xfs", Readonly<Record<string, string | true>>>
> = {
  ext4: { errors: "remount-ro" },
  xfs: { nouuid: true },
};

/** On the disk all belongs to root, in the mount to the device's owner. Root's own are as they are. */
export function idMapFor(owner: {
  readonly uid: number;
  readonly gid: number;
}): MountIdMap | undefined {
  if (owner.uid === 0) return undefined;
  return { insideUid: 0, outsideUid: owner.uid, insideGid: 0, outsideGid: owner.gid };
}
