export * from "./block/block-devices.ts";
<<<<<<< HEAD
export * from "./block/linux-block-devices.ts";
export * from "./dev-number.ts";
=======
export * from "./dev-number.ts";
export * from "./dm/device-mapper.ts";
export * from "./errors.ts";
export * from "./loop/loop-devices.ts";
export * from "./mount/mounts.ts";
export * from "./names.ts";
export * from "./units.ts";
export * from "./block/linux-block-devices.ts";
export { findSignature } from "./block/signatures.ts";
export * from "./loop/linux-loop-devices.ts";
export * from "./mount/linux-mounts.ts";
export { parseMountInfo, topmostAt } from "./mount/mountinfo.ts";
export { lockFile } from "./sys/file-lock.ts";
export type { FileLock } from "./sys/file-lock.ts";
export { peerCredentials, socketFd } from "./sys/peer-credentials.ts";
export type { PeerCredentials } from "./sys/peer-credentials.ts";
>>>>>>> helper
export * from "./dm/activate.ts";
export * from "./dm/device-mapper.ts";
export * from "./dm/linux-device-mapper.ts";
export * from "./dm/targets/delay.ts";
export * from "./dm/targets/error-zero.ts";
export * from "./dm/targets/flakey.ts";
export * from "./dm/targets/index.ts";
export * from "./dm/targets/linear.ts";
export * from "./dm/targets/striped.ts";
export * from "./dm/targets/thin-pool.ts";
export * from "./dm/targets/thin.ts";
<<<<<<< HEAD
export * from "./errors.ts";
export * from "./loop/linux-loop-devices.ts";
export * from "./loop/loop-devices.ts";
export * from "./mount/linux-mounts.ts";
export * from "./mount/mounts.ts";
export * from "./names.ts";
export * from "./units.ts";
export type { FileLock } from "./sys/file-lock.ts";
export type { PeerCredentials } from "./sys/peer-credentials.ts";
export type { UdevRules } from "./udev/cookie.ts";
export { findSignature } from "./block/signatures.ts";
export { lockFile } from "./sys/file-lock.ts";
export { parseMountInfo, topmostAt } from "./mount/mountinfo.ts";
export { peerCredentials, socketFd } from "./sys/peer-credentials.ts";
=======
export type { UdevRules } from "./udev/cookie.ts";
>>>>>>> helper
