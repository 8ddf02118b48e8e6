/** What the ledger's rows mean. */
import {
  type ThinId,
  thinId,
  type ThinPoolDiscard,
  type TransactionId,
  transactionId,
} from "@thinpool/dm-native";
import type { FilesystemType } from "../kernel.ts";
import type { DeviceName } from "../names.ts";
import type { Row } from "./database.ts";

export interface PoolRecord {
  readonly uuid: string;
  readonly state: "creating" | "created";
  readonly backing: "files" | "block";
  /** Where this ledger belongs; undefined in one of an earlier version that was not opened since. */
  readonly folder: string | undefined;
  readonly dataPath: string;
  readonly metadataPath: string;
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
  /** Above the sizes while the pool is being grown (INV-16). */
  readonly dataTargetBytes: bigint;
  readonly metadataTargetBytes: bigint;
  readonly blockSectors: bigint;
  readonly lowWaterBlocks: bigint;
  readonly discard: ThinPoolDiscard;
  readonly lastTransactionId: TransactionId;
  readonly createdAtMs: number;
}

export type NewPool = Omit<
  PoolRecord,
  "state" | "lastTransactionId" | "dataTargetBytes" | "metadataTargetBytes"
>;

export type Labels = Readonly<Record<string, string>>;

export interface DeviceRecord {
  readonly uuid: string;
  readonly name: DeviceName;
  readonly thinId: ThinId;
  readonly sizeBytes: bigint;
  readonly filesystem: FilesystemType | "none";
  readonly originUuid: string | undefined;
  readonly ownerUid: number;
  readonly createdAtMs: number;
  readonly readOnly: boolean;
  readonly labels: Labels;
  /** The path of the block device that reads of unmapped blocks go to. */
  readonly externalOrigin: string | undefined;
  /** Its filesystem is smaller than the device: growing it has not ended. */
  readonly growing: boolean;
  /** Made, but not yet what was asked for: it does not count, and opening removes it (INV-12). */
  readonly filling: boolean;
  readonly transactionId: TransactionId;
  readonly deletingTransactionId: TransactionId | undefined;
}

export type NewDevice = Omit<DeviceRecord, "thinId" | "transactionId" | "deletingTransactionId">;

export function poolRecord(row: Row): PoolRecord {
  return {
    uuid: row["uuid"] as string,
    state: row["state"] as PoolRecord["state"],
    backing: row["backing"] as PoolRecord["backing"],
    folder: (row["folder"] as string | null) ?? undefined,
    dataPath: row["data_path"] as string,
    metadataPath: row["metadata_path"] as string,
    dataBytes: row["data_bytes"] as bigint,
    metadataBytes: row["metadata_bytes"] as bigint,
    dataTargetBytes: row["data_target_bytes"] as bigint,
    metadataTargetBytes: row["metadata_target_bytes"] as bigint,
    blockSectors: row["block_sectors"] as bigint,
    lowWaterBlocks: row["low_water_blocks"] as bigint,
    discard: row["discard"] as ThinPoolDiscard,
    lastTransactionId: transactionId(row["last_transaction"] as bigint),
    createdAtMs: Number(row["created_at_ms"]),
  };
}

/** Most devices have none, and a list has thousands. */
function labelsOf(json: string): Labels {
  return json === "{}" ? {} : (JSON.parse(json) as Labels);
}

export function deviceRecord(row: Row): DeviceRecord {
  const deleting = row["deleting_transaction_id"];
  const origin = row["origin_uuid"];
  const external = row["external_origin"];
  return {
    uuid: row["uuid"] as string,
    // Written through `deviceName` only.
    name: row["name"] as DeviceName,
    thinId: thinId(Number(row["thin_id"])),
    sizeBytes: row["size_bytes"] as bigint,
    filesystem: row["filesystem"] as DeviceRecord["filesystem"],
    originUuid: typeof origin === "string" ? origin : undefined,
    ownerUid: Number(row["owner_uid"]),
    createdAtMs: Number(row["created_at_ms"]),
    readOnly: row["read_only"] === 1n,
    labels: labelsOf(row["labels"] as string),
    externalOrigin: typeof external === "string" ? external : undefined,
    growing: row["growing"] === 1n,
    filling: row["filling"] === 1n,
    transactionId: transactionId(row["transaction_id"] as bigint),
    deletingTransactionId: typeof deleting === "bigint" ? transactionId(deleting) : undefined,
  };
}
