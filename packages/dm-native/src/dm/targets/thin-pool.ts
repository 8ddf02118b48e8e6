/**
 * thin-pool: `METADATA DATA BLOCK_SECTORS LOW_WATER_BLOCKS [COUNT FEATURE…]`, its status line, and
 * its messages (dm-thin.c; Documentation/admin-guide/device-mapper/thin-provisioning.rst).
 */
import type { DevNumber } from "../../dev-number.ts";
import { formatDevNumber } from "../../dev-number.ts";
import { dataBlocks, metadataBlocks, sectors, transactionId } from "../../units.ts";
import type { DataBlocks, MetadataBlocks, Sectors, ThinId, TransactionId } from "../../units.ts";
import { FieldReader } from "./fields.ts";

/** What becomes of a discard: freed and passed down, freed only, or ignored. */
export type ThinPoolDiscard = "passdown" | "no_passdown" | "ignore";

export interface ThinPoolTable {
  readonly type: "thin-pool";
  readonly metadata: DevNumber;
  readonly data: DevNumber;
  /** 128 to 2097152 in steps of 128. */
  readonly blockSectors: Sectors;
  /** An event is raised when fewer data blocks are free; 0: never. */
  readonly lowWater: DataBlocks;
  readonly skipBlockZeroing: boolean;
  readonly discard: ThinPoolDiscard;
  readonly readOnly: boolean;
  readonly errorIfNoSpace: boolean;
  /** Words that this package does not know, kept as they are. */
  readonly otherFeatures: readonly string[];
}

export interface ThinPoolWorkingStatus {
  readonly type: "thin-pool";
  readonly state: "working";
  readonly transactionId: TransactionId;
  readonly usedMetadata: MetadataBlocks;
  readonly totalMetadata: MetadataBlocks;
  readonly usedData: DataBlocks;
  readonly totalData: DataBlocks;
  /** The root of the held metadata snapshot; undefined where none is held. */
  readonly heldMetadataRoot: MetadataBlocks | undefined;
  readonly mode: "rw" | "ro" | "out_of_data_space";
  readonly discard: ThinPoolDiscard;
  readonly onNoSpace: "error" | "queue";
  /** The metadata must be checked before the pool can be written again. */
  readonly needsCheck: boolean;
  /** Undefined in kernels that don't say (thin-pool older than 1.20). */
  readonly metadataLowWater: MetadataBlocks | undefined;
}

export type ThinPoolStatus =
  | ThinPoolWorkingStatus
  /** "Fail": no I/O works any more, the metadata needs the tools. */
  | { readonly type: "thin-pool"; readonly state: "failed" }
  /** "Error": the status could not be had. */
  | { readonly type: "thin-pool"; readonly state: "error" };

const DISCARD_FEATURE: Readonly<Record<ThinPoolDiscard, string | undefined>> = {
  passdown: undefined,
  no_passdown: "no_discard_passdown",
  ignore: "ignore_discard",
};

const DISCARD_STATUS = {
  discard_passdown: "passdown",
  no_discard_passdown: "no_passdown",
  ignore_discard: "ignore",
} as const;

const MAX_FEATURES = 64;

export type ThinPoolTableInit = Pick<
  ThinPoolTable,
  "metadata" | "data" | "blockSectors" | "lowWater"
> &
  Partial<Omit<ThinPoolTable, "type">>;

/** The features left out are the kernel's defaults: zeroing, discard passed down, writable, queueing. */
export function thinPoolToParams(table: ThinPoolTableInit): string {
  const features = [
    table.skipBlockZeroing === true ? "skip_block_zeroing" : undefined,
    DISCARD_FEATURE[table.discard ?? "passdown"],
    table.readOnly === true ? "read_only" : undefined,
    table.errorIfNoSpace === true ? "error_if_no_space" : undefined,
    ...(table.otherFeatures ?? []),
  ].filter((word) => word !== undefined);
  const head = [
    formatDevNumber(table.metadata),
    formatDevNumber(table.data),
    table.blockSectors,
    table.lowWater,
  ];
  return [...head, features.length, ...features].join(" ");
}

export function thinPoolFromParams(params: string): ThinPoolTable {
  const fields = new FieldReader("thin-pool table", params);
  const metadata = fields.device("metadata device");
  const data = fields.device("data device");
  const blockSectors = sectors(fields.u64("data block size in sectors"));
  const lowWater = dataBlocks(fields.u64("low-water mark in blocks"));
  const count = fields.atEnd ? 0 : fields.integer("number of features", MAX_FEATURES);
  const features = new Set(Array.from({ length: count }, () => fields.text("feature")));
  const take = (word: string): boolean => features.delete(word);
  const skipBlockZeroing = take("skip_block_zeroing");
  const noPassdown = take("no_discard_passdown");
  const ignoreDiscard = take("ignore_discard");
  const readOnly = take("read_only");
  const errorIfNoSpace = take("error_if_no_space");
  const passdown = noPassdown ? "no_passdown" : "passdown";
  return {
    type: "thin-pool",
    metadata,
    data,
    blockSectors,
    lowWater,
    skipBlockZeroing,
    discard: ignoreDiscard ? "ignore" : passdown,
    readOnly,
    errorIfNoSpace,
    otherFeatures: [...features],
  };
}

/** Fields that newer kernels add at the end are ignored; those that older ones lack are undefined. */
export function thinPoolFromStatus(line: string): ThinPoolStatus {
  const fields = new FieldReader("thin-pool status", line);
  if (fields.peek() === "Fail") return { type: "thin-pool", state: "failed" };
  if (fields.peek() === "Error") return { type: "thin-pool", state: "error" };
  const transaction = transactionId(fields.u64("transaction id"));
  const [usedMetadata, totalMetadata] = fields.fraction("metadata blocks");
  const [usedData, totalData] = fields.fraction("data blocks");
  const held = fields.u64OrDash("held metadata root");
  const mode = fields.oneOf("mode", ["rw", "ro", "out_of_data_space"]);
  const discard = fields.oneOf("discard", [
    "discard_passdown",
    "no_discard_passdown",
    "ignore_discard",
  ]);
  const noSpace = fields.oneOf("what happens without space", [
    "error_if_no_space",
    "queue_if_no_space",
  ]);
  // needs_check came with thin-pool 1.16 (Linux 4.2), the metadata low-water mark with 1.20 (4.20).
  const needsCheck = !fields.atEnd && fields.oneOf("needs_check", ["needs_check", "-"]) !== "-";
  const lowWater = fields.atEnd ? undefined : fields.u64("metadata low-water mark");
  return {
    type: "thin-pool",
    state: "working",
    transactionId: transaction,
    usedMetadata: metadataBlocks(usedMetadata),
    totalMetadata: metadataBlocks(totalMetadata),
    usedData: dataBlocks(usedData),
    totalData: dataBlocks(totalData),
    heldMetadataRoot: held === undefined ? undefined : metadataBlocks(held),
    mode,
    discard: DISCARD_STATUS[discard],
    onNoSpace: noSpace === "error_if_no_space" ? "error" : "queue",
    needsCheck,
    metadataLowWater: lowWater === undefined ? undefined : metadataBlocks(lowWater),
  };
}

/** The pool's messages; each that is accepted commits the metadata before it returns. */
export const thinPoolMessage = {
  /** EEXIST: the id is taken. */
  createThin: (id: ThinId): string => `create_thin ${id}`,
  /** The caller has suspended an active origin; the kernel does not check. */
  createSnap: (id: ThinId, origin: ThinId): string => `create_snap ${id} ${origin}`,
  /** EBUSY while the device is active, ENODATA where there is none. */
  delete: (id: ThinId): string => `delete ${id}`,
  /** Compare and swap: EINVAL where the present id is not `from`. */
  setTransactionId: (from: TransactionId, to: TransactionId): string =>
    `set_transaction_id ${from} ${to}`,
  /** One per pool; its root is in the status. */
  reserveMetadataSnap: (): string => "reserve_metadata_snap",
  releaseMetadataSnap: (): string => "release_metadata_snap",
} as const;
