/** What `check` finds, each with what to do about it. */

export type FindingCode =
  /** thin_check calls the metadata damaged. */
  | "METADATA_DAMAGED"
  /** A tool is not installed: the metadata's health is not known. */
  | "TOOL_MISSING"
  /** The kernel's pool takes no changes. */
  | "POOL_NEEDS_CHECK"
  | "POOL_READ_ONLY"
  | "POOL_FAILED"
  /** The pool's number is neither the ledger's nor one below it. */
  | "POOL_TRANSACTION"
  /** The metadata's block size or data size is not the recorded one. */
  | "POOL_GEOMETRY"
  /** The file or device that holds data or metadata is not there. */
  | "STORAGE_MISSING"
  /** A transaction that a crash left half done; opening settles it. */
  | "UNSETTLED"
  /** A thin device in the metadata that no record explains. */
  | "ORPHAN"
  /** A record whose thin device the metadata does not have. */
  | "LOST"
  /** A device made by another transaction than its record says. */
  | "DEVICE_TRANSACTION"
  /** A device with blocks mapped past its recorded size. */
  | "DEVICE_SIZE"
  /** A dm device with this pool's uuid that should not be there. */
  | "DM_LEFTOVER"
  /** A loop device on the pool's files that should not be there. */
  | "LOOP_LEFTOVER"
  /** A repair or restore that was interrupted. */
  | "REPAIR_INTERRUPTED";

export interface Finding {
  readonly code: FindingCode;
  readonly object: string;
  readonly reason: string;
  /** What to do. */
  readonly action: string;
}
