import type { Device, PoolStatus } from "./device.ts";
import type { FilesystemType, Kernel } from "./kernel.ts";

/** The defaults of Docker's DeviceSet. */
export const DEFAULT_DATA_BYTES: bigint = 100n << 30n;
export const DEFAULT_METADATA_BYTES: bigint = 2n << 30n;
export const DEFAULT_DEVICE_BYTES: bigint = 10n << 30n;
export const DEFAULT_BLOCK_SECTORS = 512n;
export const DEFAULT_LOW_WATER_BLOCKS = 8192n;

export type PoolBacking =
  | { readonly type: "files"; readonly dataBytes?: bigint; readonly metadataBytes?: bigint }
  | { readonly type: "block"; readonly dataPath: string; readonly metadataPath: string };

export interface CreatePoolOptions {
  /** Absolute; made if missing. Holds pool.sqlite, the lock, and with `files` data and metadata. */
  readonly folder: string;
  readonly kernel: Kernel;
  readonly backing?: PoolBacking;
  readonly blockSectors?: bigint;
  readonly lowWaterBlocks?: bigint;
}

export interface OpenPoolOptions {
  readonly folder: string;
  readonly kernel: Kernel;
}

export interface ThinPool extends AsyncDisposable {
  readonly uuid: string;
  readonly folder: string;
  /** Makes an empty device (default 10 GiB, ext4). DEVICE_EXISTS if the name is taken. */
  createDevice(options: {
    readonly name: string;
    readonly sizeBytes?: bigint;
    readonly filesystem?: FilesystemType | "none";
    readonly ownerUid?: number;
  }): Promise<{ readonly outcome: "created"; readonly device: Device }>;
  snapshot(options: {
    readonly origin: string;
    readonly name: string;
    readonly ownerUid?: number;
    /** Activate in the same stride: the short way from a request to a usable device. */
    readonly activate?: boolean;
  }): Promise<{ readonly outcome: "created"; readonly device: Device }>;
  activate(options: {
    readonly name: string;
  }): Promise<{ readonly outcome: "activated" | "already-active"; readonly device: Device }>;
  /** DEVICE_BUSY while it is open or mounted. */
  deactivate(options: {
    readonly name: string;
  }): Promise<{ readonly outcome: "deactivated" | "already-inactive"; readonly device: Device }>;
  /** Deactivates and deletes. DEVICE_BUSY while open or mounted, and then nothing has changed. */
  remove(options: { readonly name: string }): Promise<{ readonly outcome: "removed" }>;
  has(options: { readonly name: string }): boolean;
  get(options: { readonly name: string }): Device;
  list(): readonly Device[];
  status(): Promise<PoolStatus>;
  /**
   * Deactivates all, removes the pool's dm device, detaches the loops, releases the lock.
   * DEVICE_BUSY, and nothing is taken down, while a device is in use.
   */
  close(): Promise<void>;
  /** Releases the folder but leaves dm devices, loops and mounts as they are, for the next `open`. */
  detach(): Promise<void>;
}
