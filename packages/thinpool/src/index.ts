export * from "./create-pool.ts";
export { DEFAULT_DEVICE_BYTES } from "./defaults.ts";
export * from "./defaults.ts";
export * from "./device.ts";
export * from "./errors.ts";
export type { EventsOptions } from "./events/event-log.ts";
export { MAX_KEPT_EVENTS } from "./events/event-table.ts";
export * from "./events/event.ts";
export * from "./filesystems.ts";
export { DAEMON_FILES } from "./folder.ts";
export * from "./health/adopt.ts";
export { type BackupOptions, listBackups } from "./health/backup.ts";
export { type Backup, DEFAULT_BACKUPS_KEPT } from "./health/backup-files.ts";
export type { ChangedBlocksOptions, ChangedRange } from "./health/changed-blocks.ts";
export * from "./health/check-closed.ts";
export * from "./health/closed-records.ts";
export type { CheckOptions, CheckReport } from "./health/check-report.ts";
export * from "./health/destroy.ts";
export type { Finding, FindingCode } from "./health/findings.ts";
export * from "./health/repair.ts";
export * from "./health/restore.ts";
export type { SnapshotStatus } from "./health/metadata-snapshot.ts";
export type { DeviceUsage, PoolUsage, UsageOptions } from "./health/usage.ts";
export * from "./kernel.ts";
export * from "./labels.ts";
export * from "./linux-kernel.ts";
export * from "./mkfs-options.ts";
export * from "./names.ts";
export * from "./open-pool.ts";
export * from "./options.ts";
export * from "./plan-recovery.ts";
export * from "./pool.ts";
export type { MonitorOptions } from "./space/monitor.ts";
export * from "./space/policy.ts";
export type { SpaceForecast } from "./space/space.ts";
export type { ActivateResult, DeactivateOptions, DeactivateResult } from "./verbs/activate.ts";
export type { CreateDeviceOptions, CreateDeviceResult } from "./verbs/create.ts";
export type { ExtendOptions, ExtendResult } from "./verbs/extend.ts";
export type { RemoveResult } from "./verbs/remove.ts";
export type { SetPolicyResult } from "./verbs/set-policy.ts";
export type { DiscardResult, TrimResult } from "./verbs/trim.ts";
export type { RecoveryAction, RecoveryDecision } from "./recovery-plan.ts";
export type { CommitObserver } from "./store/database.ts";
export type { JournalEntry } from "./store/journal.ts";
export type { Labels } from "./store/records.ts";
export { LinuxMetadataTools } from "./tools/linux-metadata-tools.ts";
export { WalFile, syncWal } from "./store/wal-file.ts";
export { TurnBatch } from "./turn-batch.ts";
export type * from "./tools/metadata-tools.ts";
export type { DevicePage, Lineage, ListFilter, PageOptions } from "./verbs/list.ts";
export type { RenameWatch } from "./renames.ts";
export type { RenameResult } from "./verbs/rename.ts";
export type { ResizeOptions, ResizeResult } from "./verbs/resize.ts";
export type { RevertOptions, RevertResult } from "./verbs/revert.ts";
export type { UpdateOptions, UpdateResult } from "./verbs/update.ts";
export type {
  SnapshotManyOptions,
  SnapshotManyResult,
  SnapshotOptions,
  SnapshotResult,
} from "./verbs/snapshot.ts";
/** What the layers above need of @thinpool/dm-native: they import this package only. */
export {
  type BlockDevices,
  bootId,
  bootTimeMs,
  type CallerIds,
  closeDescriptor,
  type DeviceMapper,
  type DevNumber,
  type DmDeviceInfo,
  type DmName,
  type DmUuid,
  dmName,
  dmUuid,
  type FileLock,
  formatDevNumber,
  keepDescriptorsFromChildren,
  type ListeningSocket,
  listenTcp,
  lockFile,
  type LoopDevices,
  type LoopStatus,
  type MountFlags,
  type MountIdMap,
  type MountInfo,
  type MountRequest,
  type Mounts,
  NativeError,
  type NativeErrorCode,
  openFolderAsCaller,
  openFolderBeneath,
  openMountNamespace,
  type OpenNamespace,
  openNamespaceOf,
  peerCredentials,
  PeerProcess,
  receiveDescriptor,
  sameDevNumber,
  sendDatagram,
  sendDescriptor,
  socketFd,
  socketPair,
  syncFilesystem,
  withCallerIds,
} from "@thinpool/dm-native";
export { deviceDmUuid } from "./dm-names.ts";
