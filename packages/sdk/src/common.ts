/** What the entries for Node and for browsers have in common. */
export type { ClientErrorCode, ErrorExplanation, Hello } from "@thinpool/protocol";
export { clientErrorCodes, explain } from "@thinpool/protocol";
export type { ConnectOptions, ListOptions, StateListener } from "./client.ts";
export {
  Client,
  DEFAULT_RECONNECT_TIMEOUT_MS,
  DEFAULT_TIMEOUT_MS,
  MAX_TIMEOUT_MS,
} from "./client.ts";
export type { ChangedRange, Resized, Snapshots } from "./device-verbs.ts";
export { DeviceVerbs } from "./device-verbs.ts";
export type { ThinpoolErrorCode } from "./errors.ts";
export { ThinpoolError, hasCode } from "./errors.ts";
export type {
  EventLogOptions,
  EventsOptions,
  LoggedEvent,
  LostEvents,
  PoolEvent,
  StateSnapshot,
} from "./events.ts";
export type { ClientState } from "./link.ts";
export type { ActivateOptions, MountOptions } from "./mount-options.ts";
export type { BackupEntry, CheckReport, Extended, SpacePolicySet } from "./pool-verbs.ts";
export { PoolVerbs } from "./pool-verbs.ts";
export type { GrowthChange, GrowthPolicy, SpacePolicy, SpacePolicyChange } from "./space-policy.ts";
export type { CallOptions, ChangeOptions, Progress } from "./requests.ts";
export type {
  Device,
  Filesystem,
  Forecast,
  MountEntry,
  PoolState,
  PoolStatus,
  ReleaseResult,
  SpaceForecast,
  SpaceGrowth,
  Usage,
} from "./resources.ts";
export { Clone, Mount } from "./resources.ts";
export type {
  ConnectTokenEntry,
  NewConnectToken,
  NewToken,
  PolicyAnswer,
  PolicyQuestion,
  TokenEntry,
  WhoAmI,
} from "./rights.ts";
export { Rights } from "./rights.ts";
export type {
  DeviceExport,
  ExportOptions,
  ExportSummary,
  ImportOptions,
  Imported,
} from "./transfers.ts";
