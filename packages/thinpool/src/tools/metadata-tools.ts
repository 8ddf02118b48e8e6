/**
 * What the engine asks of thin-provisioning-tools, as an interface: the programs themselves
 * (`LinuxMetadataTools`) are one implementation, @thinpool/dm-sim's metadata in memory another.
 *
 * Every method rejects with POOL_TOOL_MISSING where the machine lacks the program, and with
 * POOL_TOOL_FAILED where it ran and said nothing about the metadata (it was killed, could not open the
 * device): neither is damage, and neither is health.
 */
import type { ThinId, TransactionId } from "@thinpool/dm-native";

export interface MetadataSource {
  /** The device (or file) that holds the metadata. */
  readonly path: string;
  /** Reads the metadata snapshot that a live pool holds; without it the pool must be down. */
  readonly snapshot?: boolean;
  /** Ends the program. */
  readonly signal?: AbortSignal;
}

export interface MetadataCheck {
  readonly outcome: "clean" | "damaged";
  /** What the program printed, for people; at most `MAX_REPORT_BYTES`. */
  readonly report: string;
}

export interface MetadataSuperblock {
  readonly transactionId: TransactionId;
  readonly blockSectors: bigint;
  /** Size of the data device in pool blocks. */
  readonly dataBlocks: bigint;
}

/** A thin device as the metadata has it. */
export interface MetadataDevice {
  readonly thinId: ThinId;
  readonly mappedBlocks: bigint;
  /** The pool's transaction id when the device was made: one below that of our record. */
  readonly transactionId: TransactionId;
  /** Its highest mapped block; undefined where none is mapped, or where mappings were not read. */
  readonly highestBlock: bigint | undefined;
}

export interface MetadataListing {
  readonly superblock: MetadataSuperblock;
  /** By thin id. */
  readonly devices: readonly MetadataDevice[];
}

export interface ThinUsage {
  readonly thinId: ThinId;
  readonly mappedBytes: bigint;
  /** Mapped by this device only: what removing it would free. */
  readonly exclusiveBytes: bigint;
  readonly sharedBytes: bigint;
  readonly transactionId: TransactionId;
}

/** Blocks of two thin devices that don't stand on the same data block. */
export interface BlockDifference {
  /** "changed": both have it; "added": only the second; "removed": only the first. */
  readonly kind: "changed" | "added" | "removed";
  readonly beginBlock: bigint;
  readonly lengthBlocks: bigint;
}

export interface MetadataTools {
  /**
   * thin_check. With `clearNeedsCheck` a clean result also clears the pool's needs_check flag; damaged
   * metadata keeps it.
   */
  check(options: MetadataSource & { readonly clearNeedsCheck?: boolean }): Promise<MetadataCheck>;
  /** thin_dump: the superblock and all devices; `mappings` reads the highest blocks as well. */
  read(options: MetadataSource & { readonly mappings?: boolean }): Promise<MetadataListing>;
  /** thin_ls: what each device maps, and how much of that alone. Walks all mappings. */
  usage(options: MetadataSource): Promise<readonly ThinUsage[]>;
  /** thin_delta: in ascending order of blocks. Ending the iteration ends the program. */
  delta(
    options: MetadataSource & { readonly from: ThinId; readonly to: ThinId },
  ): AsyncIterable<BlockDifference>;
  /**
   * thin_dump into a new file (0600), synced. A failure leaves no file. `dataBlocks`: the pool's, which
   * the program does not know of a metadata snapshot.
   */
  dump(
    options: MetadataSource & { readonly file: string; readonly dataBlocks: bigint },
  ): Promise<void>;
  /** thin_restore: writes a dump onto a device. POOL_TOOL_FAILED where the dump is no good. */
  restore(options: {
    readonly file: string;
    readonly path: string;
    readonly signal?: AbortSignal;
  }): Promise<void>;
  /**
   * thin_repair: writes what can be saved of `from` onto `to`. `known` stands in for a superblock that
   * is lost. POOL_NEEDS_REPAIR where nothing can be saved.
   */
  repair(options: {
    readonly from: string;
    readonly to: string;
    readonly known: MetadataSuperblock;
    readonly signal?: AbortSignal;
  }): Promise<void>;
}
