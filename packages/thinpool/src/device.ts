/** A thin device as callers see it. */
import type { ThinId, TransactionId } from "@thinpool/dm-native";
import type { FilesystemType } from "./kernel.ts";
import type { DeviceName } from "./names.ts";

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
}

export type PoolState = "working" | "read-only" | "out-of-data" | "needs-check" | "failed";
