export type { Daemon, DaemonOptions } from "./daemon.ts";
export { DEFAULT_MOUNT_ROOT, DRAIN_TIMEOUT_MS, startDaemon } from "./daemon.ts";
export type { LogFields, LogLevel, Logger } from "./log.ts";
export { jsonLogger, stderrLogger } from "./log.ts";
export type { MountRules, RulesFor } from "./mounts/rules.ts";
export { DEFAULT_MOUNT_RULES, ROOT_MOUNT_RULES } from "./mounts/rules.ts";
export { DEFAULT_POLICY_FILE, choosePolicyFile } from "./policy/policy-file.ts";
export type { StartErrorCode } from "./start-error.ts";
export { StartError } from "./start-error.ts";
