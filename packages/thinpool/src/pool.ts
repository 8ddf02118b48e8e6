import type { ThinPoolDiscard } from "@thinpool/dm-native";
import type { Device, PoolStatus } from "./device.ts";
import type { EventsOptions } from "./events/event-log.ts";
import type { PoolEvent } from "./events/event.ts";
import type { BackupOptions } from "./health/backup.ts";
import type { Backup } from "./health/backup-files.ts";
import type { ChangedBlocksOptions, ChangedRange } from "./health/changed-blocks.ts";
import type { CheckOptions, CheckReport } from "./health/check-report.ts";
import type { SnapshotStatus } from "./health/metadata-snapshot.ts";
import type { PoolUsage, UsageOptions } from "./health/usage.ts";
import type { Kernel } from "./kernel.ts";
import type { RenameWatch } from "./renames.ts";
import type { MonitorOptions } from "./space/monitor.ts";
import type { SpacePolicy, SpacePolicyChange } from "./space/policy.ts";
import type { CommitObserver } from "./store/database.ts";
import type { JournalEntry } from "./store/journal.ts";
import type { ActivateResult, DeactivateOptions, DeactivateResult } from "./verbs/activate.ts";
import type { CreateDeviceOptions, CreateDeviceResult } from "./verbs/create.ts";
import type { ExtendOptions, ExtendResult } from "./verbs/extend.ts";
import type { SetPolicyResult } from "./verbs/set-policy.ts";
import type { DiscardResult, TrimResult } from "./verbs/trim.ts";
import type { DevicePage, Lineage, ListFilter, PageOptions } from "./verbs/list.ts";
import type { RemoveResult } from "./verbs/remove.ts";
import type { RenameResult } from "./verbs/rename.ts";
import type { ResizeOptions, ResizeResult } from "./verbs/resize.ts";
import type { RevertOptions, RevertResult } from "./verbs/revert.ts";
import type {
  SnapshotManyOptions,
  SnapshotManyResult,
  SnapshotOptions,
  SnapshotResult,
} from "./verbs/snapshot.ts";
import type { UpdateOptions, UpdateResult } from "./verbs/update.ts";

export type PoolBacking =
  | { readonly type: "files"; readonly dataBytes?: bigint; readonly metadataBytes?: bigint }
  | { readonly type: "block"; readonly dataPath: string; readonly metadataPath: string };

export interface CreatePoolOptions {
  /** Absolute; made if missing. Holds pool.sqlite, the lock, and with `files` data and metadata. */
  readonly folder: string;
  readonly kernel: Kernel;
  readonly backing?: PoolBacking;
  readonly blockSectors?: bigint;
  /** Growth begins when no more data blocks are free. Default: 8192, but at most an eighth of all. */
  readonly lowWaterBlocks?: bigint;
  /**
   * What a discard (fstrim, blkdiscard) of a thin device does: free its blocks and pass it down to the
   * data device, only free them, or nothing. For the pool's life. Default: passdown.
   */
  readonly discard?: ThinPoolDiscard;
  /** What differs from `defaultPolicy`. */
  readonly policy?: SpacePolicyChange;
  readonly monitor?: MonitorOptions | false;
  /** For tests of crashes: told before and after each durable commit of the ledger. */
  readonly onCommit?: CommitObserver;
}

export interface OpenPoolOptions {
  readonly folder: string;
  readonly kernel: Kernel;
  /** The space is looked at by event and every 10 s, and grows by the policy. False: it is not. */
  readonly monitor?: MonitorOptions | false;
  /**
   * Opens without the check where thin_check is not installed. Else a pool that was not closed in order
   * is refused then with POOL_TOOL_MISSING: its health is not known.
   */
  readonly allowMissingTool?: boolean;
  /** For tests of crashes: told before and after each durable commit of the ledger. */
  readonly onCommit?: CommitObserver;
}

export interface Owned {
  readonly devices: number;
  /** Of their sizes; what they take of the pool's data is less. */
  readonly sizeBytes: bigint;
}

export interface ThinPool extends AsyncDisposable {
  readonly uuid: string;
  readonly folder: string;
  /** Makes an empty device (default 10 GiB, ext4). DEVICE_EXISTS if the name is taken. */
  createDevice(options: CreateDeviceOptions): Promise<CreateDeviceResult>;
  snapshot(options: SnapshotOptions): Promise<SnapshotResult>;
  /** Several devices as they were at one moment, in one transaction; says how long origins were held. */
  snapshotMany(options: SnapshotManyOptions): Promise<SnapshotManyResult>;
  activate(options: { readonly name: string }): Promise<ActivateResult>;
  /** DEVICE_BUSY while it is open or mounted, unless `deferred`. */
  deactivate(options: DeactivateOptions): Promise<DeactivateResult>;
  /** Gives a device the content of one of its snapshots. DEVICE_BUSY while it is open or mounted. */
  revert(options: RevertOptions): Promise<RevertResult>;
  /** Grows a device and its filesystem, mounted or not. */
  resize(options: ResizeOptions): Promise<ResizeResult>;
  /** Active or not. DEVICE_EXISTS where the new name is taken. */
  rename(options: { readonly name: string; readonly to: string }): Promise<RenameResult>;
  /** Owner, labels, read-only. */
  update(options: UpdateOptions): Promise<UpdateResult>;
  /** Deactivates and deletes. DEVICE_BUSY while open or mounted, and then nothing has changed. */
  remove(options: { readonly name: string }): Promise<RemoveResult>;
  has(options: { readonly name: string }): boolean;
  get(options: { readonly name: string }): Device;
  /** By name; all, or those that the filter fits. */
  list(filter?: ListFilter): readonly Device[];
  /** A part of that, so that a pool of thousands need not be read in one turn of the event loop. */
  listPage(options: PageOptions): DevicePage;
  /** Which devices are renamed from now on: pages by name can miss one, or have it twice. */
  watchRenames(): RenameWatch;
  /** What it was made from, and what was made from it. */
  lineage(options: { readonly name: string }): Lineage;
  /** What opening the pool decided and why, the last 1000 decisions, the oldest first. */
  recoveryJournal(): readonly JournalEntry[];
  /** What one user has; its cost follows that user's devices, not the pool's. */
  owned(options: { readonly ownerUid: number }): Owned;
  status(): Promise<PoolStatus>;
  /** Makes the pool larger: files are made longer, block devices that became longer are used. */
  extend(options?: ExtendOptions): Promise<ExtendResult>;
  readonly policy: SpacePolicy;
  setPolicy(change: SpacePolicyChange): Promise<SetPolicyResult>;
  /** Gives back what the filesystem of a mounted device does not use (FITRIM). */
  trim(options: { readonly name: string }): Promise<TrimResult>;
  /** Throws away all that a device holds; it reads as zeroes then. DEVICE_BUSY while in use. */
  discard(options: { readonly name: string }): Promise<DiscardResult>;
  /** What happened, in order and without gaps; goes on as it happens. */
  events(options?: EventsOptions): AsyncGenerator<PoolEvent, void, undefined>;
  /** The oldest event that is still kept. */
  readonly firstEventNumber: number;
  readonly lastEventNumber: number;
  /** Per device: mapped, of that exclusive and shared. One walk over the metadata for all, cached. */
  usage(options?: UsageOptions): Promise<PoolUsage>;
  /** The byte ranges in which one device differs from another: the base of incremental backup. */
  changedBlocks(options: ChangedBlocksOptions): AsyncIterable<ChangedRange>;
  /** Looks for damage, orphans, lost records and leftovers; changes nothing. Closed: `checkPool`. */
  check(options?: CheckOptions): Promise<CheckReport>;
  /** A dump of the metadata and the ledger of the same moment; the last 8 are kept. See `restorePool`. */
  backup(options?: BackupOptions): Promise<Backup>;
  /** Deletes a thin device that no record explains (`check` calls it an orphan). */
  removeOrphan(options: { readonly thinId: number }): Promise<{ readonly outcome: "removed" }>;
  /** Who has the pool's one metadata snapshot. */
  metadataSnapshot(): SnapshotStatus;
  /**
   * Deactivates all, removes the pool's dm device, detaches the loops, releases the lock.
   * DEVICE_BUSY, and nothing is taken down, while a device is in use.
   */
  close(): Promise<void>;
  /** Releases the folder but leaves dm devices, loops and mounts as they are, for the next `open`. */
  detach(): Promise<void>;
}
