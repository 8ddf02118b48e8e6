/**
 * What the engine needs of the kernel and of the machine. `linuxKernel()` is the real one;
 * @thinpool/dm-sim's has the same shape, so that all above is tested without root.
 */
import type { BlockDevices, DeviceMapper, LoopDevices, Mounts } from "@thinpool/dm-native";
import type { MetadataTools } from "./tools/metadata-tools.ts";
import type { MkfsOptions } from "./mkfs-options.ts";

export type FilesystemType = "ext4" | "xfs";

export interface Filesystems {
  /** Makes a filesystem on a device node by the system's mkfs (absolute path, empty environment). */
  make(options: {
    readonly path: string;
    readonly type: FilesystemType;
    /** Checked by the caller. */
    readonly options?: MkfsOptions;
    readonly signal?: AbortSignal;
  }): Promise<void>;
  /**
   * Grows the filesystem to the size of its device: a mounted one where it is mounted, an unmounted
   * ext4 after a check. An xfs must be mounted.
   */
  grow(options: {
    readonly path: string;
    readonly type: FilesystemType;
    readonly mountPoint: string | undefined;
  }): Promise<void>;
}

export interface Kernel {
  readonly dm: DeviceMapper;
  readonly loops: LoopDevices;
  readonly blocks: BlockDevices;
  readonly mounts: Mounts;
  readonly filesystems: Filesystems;
  readonly metadataTools: MetadataTools;
}
