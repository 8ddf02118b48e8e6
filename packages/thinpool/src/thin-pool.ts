/** An open pool: each verb is a function in verbs/, this only gives them one face. */
import type { Device, PoolStatus } from "./device.ts";
import { Engine, type EngineParts } from "./engine.ts";
import type { EventsOptions } from "./events/event-log.ts";
import type { PoolEvent } from "./events/event.ts";
import type { SpacePolicy, SpacePolicyChange } from "./space/policy.ts";
import { backup, type BackupOptions } from "./health/backup.ts";
import type { Backup } from "./health/backup-files.ts";
import {
  changedBlocks,
  type ChangedBlocksOptions,
  type ChangedRange,
} from "./health/changed-blocks.ts";
import { checkOpen } from "./health/check-open.ts";
import type { CheckOptions, CheckReport } from "./health/check-report.ts";
import type { SnapshotStatus } from "./health/metadata-snapshot.ts";
import { removeOrphan } from "./health/orphans.ts";
import { type PoolUsage, UsageCache, type UsageOptions } from "./health/usage.ts";
import type { Owned, ThinPool } from "./pool.ts";
import type { RenameWatch } from "./renames.ts";
import type { JournalEntry } from "./store/journal.ts";
import {
  activate,
  type ActivateResult,
  deactivate,
  type DeactivateOptions,
  type DeactivateResult,
} from "./verbs/activate.ts";
import { close, detach } from "./verbs/close.ts";
import { createDevice, type CreateDeviceOptions, type CreateDeviceResult } from "./verbs/create.ts";
import { extend, type ExtendOptions, type ExtendResult } from "./verbs/extend.ts";
import { setPolicy, type SetPolicyResult } from "./verbs/set-policy.ts";
import {
  type DevicePage,
  type Lineage,
  lineage,
  list,
  type ListFilter,
  listPage,
  type PageOptions,
} from "./verbs/list.ts";
import { remove, type RemoveResult } from "./verbs/remove.ts";
import { rename, type RenameResult } from "./verbs/rename.ts";
import { resize, type ResizeOptions, type ResizeResult } from "./verbs/resize.ts";
import { revert, type RevertOptions, type RevertResult } from "./verbs/revert.ts";
import {
  snapshot,
  snapshotMany,
  type SnapshotManyOptions,
  type SnapshotManyResult,
  type SnapshotOptions,
  type SnapshotResult,
} from "./verbs/snapshot.ts";
import { status } from "./verbs/status.ts";
import { discard, type DiscardResult, trim, type TrimResult } from "./verbs/trim.ts";
import { update, type UpdateOptions, type UpdateResult } from "./verbs/update.ts";

export class Pool implements ThinPool {
  readonly uuid: string;
  readonly folder: string;
  readonly #engine: Engine;
  readonly #usage: UsageCache;

  constructor(parts: EngineParts) {
    this.#engine = new Engine(parts);
    this.#usage = new UsageCache(this.#engine);
    this.uuid = this.#engine.uuid;
    this.folder = this.#engine.folder;
    this.#engine.space.start();
  }

  /** Durable commits of the ledger since the pool was opened: each is one fsync. */
  get commits(): number {
    return this.#engine.ledger.commits;
  }

  createDevice(options: CreateDeviceOptions): Promise<CreateDeviceResult> {
    return createDevice(this.#engine, options);
  }

  snapshot(options: SnapshotOptions): Promise<SnapshotResult> {
    return snapshot(this.#engine, options);
  }

  snapshotMany(options: SnapshotManyOptions): Promise<SnapshotManyResult> {
    return snapshotMany(this.#engine, options);
  }

  activate(options: { readonly name: string }): Promise<ActivateResult> {
    return activate(this.#engine, options);
  }

  deactivate(options: DeactivateOptions): Promise<DeactivateResult> {
    return deactivate(this.#engine, options);
  }

  revert(options: RevertOptions): Promise<RevertResult> {
    return revert(this.#engine, options);
  }

  resize(options: ResizeOptions): Promise<ResizeResult> {
    return resize(this.#engine, options);
  }

  rename(options: { readonly name: string; readonly to: string }): Promise<RenameResult> {
    return rename(this.#engine, options);
  }

  update(options: UpdateOptions): Promise<UpdateResult> {
    return update(this.#engine, options);
  }

  remove(options: { readonly name: string }): Promise<RemoveResult> {
    return remove(this.#engine, options);
  }

  has(options: { readonly name: string }): boolean {
    const engine = this.#engine;
    engine.assertNotClosed("has", options.name);
    return engine.ledger.byName(options.name, engine.transactionId) !== undefined;
  }

  get(options: { readonly name: string }): Device {
    const engine = this.#engine;
    engine.assertNotClosed("get", options.name);
    return engine.view(engine.device("get", options.name));
  }

  list(filter?: ListFilter): readonly Device[] {
    return list(this.#engine, filter);
  }

  listPage(options: PageOptions): DevicePage {
    return listPage(this.#engine, options);
  }

  watchRenames(): RenameWatch {
    return this.#engine.renames.watch();
  }

  lineage(options: { readonly name: string }): Lineage {
    return lineage(this.#engine, options);
  }

  recoveryJournal(): readonly JournalEntry[] {
    this.#engine.assertNotClosed("recovery journal", this.folder);
    return this.#engine.ledger.journal.entries();
  }

  owned(options: { readonly ownerUid: number }): Owned {
    const engine = this.#engine;
    engine.assertNotClosed("owned", this.folder);
    return engine.ledger.owned(options.ownerUid, engine.transactionId);
  }

  status(): Promise<PoolStatus> {
    return status(this.#engine);
  }

  extend(options: ExtendOptions = {}): Promise<ExtendResult> {
    return extend(this.#engine, options);
  }

  get policy(): SpacePolicy {
    return this.#engine.policy;
  }

  setPolicy(change: SpacePolicyChange): Promise<SetPolicyResult> {
    return setPolicy(this.#engine, change);
  }

  trim(options: { readonly name: string }): Promise<TrimResult> {
    return trim(this.#engine, options);
  }

  discard(options: { readonly name: string }): Promise<DiscardResult> {
    return discard(this.#engine, options);
  }

  /** One look of the monitor, now: measures, tells what has changed, grows what is low. */
  look(): Promise<void> {
    return this.#engine.space.look();
  }

  events(options: EventsOptions = {}): AsyncGenerator<PoolEvent, void, undefined> {
    this.#engine.assertNotClosed("events", this.folder);
    return this.#engine.events.read(options);
  }

  get firstEventNumber(): number {
    this.#engine.assertNotClosed("firstEventNumber", this.folder);
    return this.#engine.events.first;
  }

  get lastEventNumber(): number {
    this.#engine.assertNotClosed("lastEventNumber", this.folder);
    return this.#engine.events.last;
  }

  usage(options?: UsageOptions): Promise<PoolUsage> {
    return this.#usage.get(options);
  }

  changedBlocks(options: ChangedBlocksOptions): AsyncIterable<ChangedRange> {
    return changedBlocks(this.#engine, options);
  }

  check(options?: CheckOptions): Promise<CheckReport> {
    return checkOpen(this.#engine, options);
  }

  backup(options?: BackupOptions): Promise<Backup> {
    return backup(this.#engine, options);
  }

  removeOrphan(options: { readonly thinId: number }): Promise<{ readonly outcome: "removed" }> {
    return removeOrphan(this.#engine, options);
  }

  metadataSnapshot(): SnapshotStatus {
    return this.#engine.metadataSnapshot.status;
  }

  close(): Promise<void> {
    return close(this.#engine);
  }

  detach(): Promise<void> {
    return detach(this.#engine);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
