export type { Daemon, DaemonOptions } from "./daemon.ts";
export { DEFAULT_BLOCK_ROOT, DEFAULT_MOUNT_ROOT, DRAIN_TIMEOUT_MS, startDaemon } from "./daemon.ts";
export type { TcpAddress, TcpFlags, TcpOptions } from "./gateway/tcp-options.ts";
export { parseTcpFlags } from "./gateway/tcp-options.ts";
export { eventToRoot } from "./handlers/event-to-wire.ts";
export type { LogFields, LogLevel, Logger } from "./log.ts";
export { jsonLogger, stderrLogger } from "./log.ts";
export type { MountRules, RulesFor } from "./mounts/rules.ts";
export { DEFAULT_MOUNT_RULES, ROOT_MOUNT_RULES } from "./mounts/rules.ts";
export type { MetricsAddress } from "./metrics/metrics-server.ts";
export { parseMetricsAddress } from "./metrics/metrics-server.ts";
export type { InstallPlace, ServiceStatus } from "./service/install.ts";
export { installService, serviceStatus, uninstallService } from "./service/install.ts";
export type { UnitOptions } from "./service/units.ts";
export { SERVICE_UNIT } from "./service/units.ts";
export { daemonProgram } from "./service/program.ts";
export type { LoadedPolicy } from "./policy/policy-file.ts";
export { DEFAULT_POLICY_FILE, choosePolicyFile, readPolicyFile } from "./policy/policy-file.ts";
export { defaultPolicyFile } from "./policy/compile-policy.ts";
export type {
  AccountEntry,
  LimitsEntry,
  PolicyFile,
  RuleEntry,
  UsersEntry,
} from "./policy/policy-schema.ts";
export { DEFAULT_SOCKET_GROUP } from "./server/socket.ts";
export type { StartErrorCode } from "./start-error.ts";
export { StartError } from "./start-error.ts";
export type { WrittenEntry } from "./tar/writer.ts";
export { TAR_END, tarHeader } from "./tar/writer.ts";
export type { Packed } from "./tree/pack.ts";
export { packTree } from "./tree/pack.ts";
