/** Mounts as an interface. Every method rejects with NativeError. */
import type { DevNumber } from "../dev-number.ts";

export interface MountFlags {
  readonly readOnly?: boolean;
  readonly noSuid?: boolean;
  readonly noDev?: boolean;
  readonly noExec?: boolean;
  readonly noSymFollow?: boolean;
}

/** On disk `insideId`, in the mount `outsideId` (mount_setattr(2), idmapped mounts); one id each. */
export interface MountIdMap {
  readonly insideUid: number;
  readonly outsideUid: number;
  readonly insideGid: number;
  readonly outsideGid: number;
}

export interface MountRequest {
  /** The device's node. */
  readonly source: string;
  /** "ext4" or "xfs": never probed. */
  readonly type: string;
  /** An existing folder; no symlink on the way is followed. */
  readonly target: string;
  /**
   * That folder, opened already with O_PATH: the mount is attached to the descriptor, and is undone
   * (NATIVE_BUSY) where the folder turns out not to be `target` any more, or something was mounted on
   * it meanwhile. The caller closes it.
   */
  readonly targetDescriptor?: number;
  /**
   * The mount namespace that `targetDescriptor` is in, where it is not this process's. NATIVE_UNSUPPORTED
   * where the mount would be seen in this process's as well (shared mounts, mount_namespaces(7)).
   */
  readonly namespaceDescriptor?: number;
  readonly flags: MountFlags;
  /** Options of the filesystem itself; true where the key has no value. */
  readonly options?: Readonly<Record<string, string | true>>;
  readonly idMap?: MountIdMap;
  /** The top folder's owner, set on the disk before the mount is visible. */
  readonly topFolderOwner?: { readonly uid: number; readonly gid: number };
}

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountInfo {
  readonly mountId: number;
  readonly parentId: number;
  readonly dev: DevNumber;
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  readonly optionalFields: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

export interface UnmountOptions {
  /** Must be given for another mount namespace. */
  readonly mountId?: number;
  readonly lazy?: boolean;
  /** The mount namespace that the target is in, where it is not this process's. */
  readonly namespaceDescriptor?: number;
}

export interface Mounts {
  /** All flags stand before the mount is visible; whatever fails, nothing is mounted. */
  mount(request: MountRequest): Promise<MountInfo>;
  /**
   * Never follows a symlink. With `mountId`, only if the topmost mount there is that one
   * (else NATIVE_NOT_FOUND). EBUSY -> NATIVE_BUSY.
   */
  unmount(target: string, options?: UnmountOptions): Promise<void>;
  /** Of this process's mount namespace, or that one. */
  list(options?: { readonly namespaceDescriptor?: number }): Promise<readonly MountInfo[]>;
  freeze(mountPoint: string): Promise<void>;
  thaw(mountPoint: string): Promise<void>;
  /** FITRIM; the bytes that the filesystem discarded. */
  trim(mountPoint: string, options?: { readonly minimumBytes?: bigint }): Promise<bigint>;
}
