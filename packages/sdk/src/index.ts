export type { ConnectOptions } from "./client.ts";
export { Client, DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, connect } from "./client.ts";
export type { ClientErrorCode, ThinpoolErrorCode } from "./errors.ts";
export { ThinpoolError, clientErrorCodes, hasCode } from "./errors.ts";
export type { CallOptions } from "./requests.ts";
export type {
  Device,
  Filesystem,
  MountEntry,
  PoolState,
  PoolStatus,
  ReleaseResult,
} from "./resources.ts";
export { Clone, Mount } from "./resources.ts";
