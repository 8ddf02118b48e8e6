/** What the policy lets a user's mounts be. The policy file fills it in; this is what holds without one. */
import { MAX_LEASE_MS } from "../references/holder.ts";

export interface MountRules {
  /** Folders below these may be mounted on by their owners; absolute, without symlinks. */
  readonly folderRoots: readonly string[];
  /** No program may be started from the mount. */
  readonly noExec: boolean;
  /** A folder may be in the caller's own mount namespace (a container). */
  readonly otherNamespaces: boolean;
  /** Symbolic links in the mount are not followed. */
  readonly noSymFollow: boolean;
  /**
   * A mount that nobody holds and that stays busy for so long is taken off the tree at last (lazy
   * unmount): the processes in it keep their files. Undefined: it is waited for without end.
   */
  readonly lazyAfterMs: number | undefined;
  /** The longest time to live of a lease, from one renewal to the next. */
  readonly maxLeaseMs: number;
  /** A device may be had as a block device: its contents are then wholly his, and so what is mounted. */
  readonly blockDevices: boolean;
  /** References that end only when they are released. */
  readonly permanent: boolean;
}

export const DEFAULT_MOUNT_RULES: MountRules = {
  folderRoots: [],
  noExec: false,
  noSymFollow: false,
  otherNamespaces: false,
  lazyAfterMs: undefined,
  maxLeaseMs: MAX_LEASE_MS,
  blockDevices: false,
  permanent: false,
};

/** Root mounts where it likes; whatever it makes permanent stays over reboots. */
export const ROOT_MOUNT_RULES: MountRules = {
  ...DEFAULT_MOUNT_RULES,
  folderRoots: ["/"],
  otherNamespaces: true,
  blockDevices: true,
  permanent: true,
};

export type RulesFor = (principal: { readonly uid: number }) => MountRules;

export const defaultRulesFor: RulesFor = ({ uid }) =>
  uid === 0 ? ROOT_MOUNT_RULES : DEFAULT_MOUNT_RULES;
