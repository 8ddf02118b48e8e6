/** A thin device as callers see it. */
import type { ThinId, ThinPoolDiscard, TransactionId } from "@thinpool/dm-native";
import type { FilesystemType } from "./kernel.ts";
import type { DeviceName } from "./names.ts";
import type { SpacePolicy } from "./space/policy.ts";
import type { SpaceForecast } from "./space/space.ts";

export interface Device {
  readonly name: DeviceName;
  /** Ours, for life; also in the dm uuid (`THINPOOL-<pool uuid>-<device uuid>`). */
  readonly uuid: string;
  readonly thinId: ThinId;
  readonly sizeBytes: bigint;
  readonly filesystem: FilesystemType | "none";
  /** The uuid of the device it was made from; undefined for one made empty. */
  readonly originUuid: string | undefined;
  readonly createdAtMs: number;
  /** The pool transaction that made its content: it, or what it was last reverted to. */
  readonly transactionId: TransactionId;
  /** Who it belongs to; the engine only remembers it. 0 is root. */
  readonly ownerUid: number;
  /** Activated read-only. */
  readonly readOnly: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** The block device that unwritten parts are read from. */
  readonly externalOrigin: string | undefined;
  /** Growing it has not ended: its filesystem does not fill it. `resize` goes on. */
  readonly filesystemSmaller: boolean;
  readonly active: boolean;
  /** /dev/mapper/…; exists only while active. */
  readonly path: string;
}

export interface PoolStatus {
  readonly uuid: string;
  readonly folder: string;
  /** "working", "read-only", "out-of-data", "needs-check", "failed": from the kernel's status line. */
  readonly state: PoolState;
  /** Why changes are refused until the pool was opened anew (INV-7); undefined where they are not. */
  readonly degradedReason: string | undefined;
  readonly transactionId: TransactionId;
  readonly blockSizeBytes: bigint;
  readonly dataUsedBytes: bigint;
  readonly dataTotalBytes: bigint;
  readonly metadataUsedBytes: bigint;
  readonly metadataTotalBytes: bigint;
  readonly lowWaterBytes: bigint;
  readonly deviceCount: number;
  readonly activeCount: number;
  /** "loop" is fit for trying out, not for production: I/O goes through two filesystems. */
  readonly backing: "loop" | "block";
  /** As the kernel has it now; undefined where the pool has failed. */
  readonly discard: ThinPoolDiscard | undefined;
  /** What the kernel does now with writes that find no block; undefined where it has failed. */
  readonly onNoSpace: "queue_if_no_space" | "error_if_no_space" | undefined;
  readonly space: SpaceStatus;
}

export interface SpaceStatus {
  readonly policy: SpacePolicy;
  /** False where the pool was opened without its monitor: nothing grows by itself then. */
  readonly monitored: boolean;
  /** The filesystem under the pool's files; undefined for block devices. */
  readonly hostFreeBytes: bigint | undefined;
  /** Undefined where the pool has failed. */
  readonly data: SpaceForecast | undefined;
  readonly metadata: SpaceForecast | undefined;
}

export type PoolState = "working" | "read-only" | "out-of-data" | "needs-check" | "failed";
