export * from "./block/block-devices.ts";
export * from "./dev-number.ts";
export * from "./dm/device-mapper.ts";
export * from "./errors.ts";
export * from "./loop/loop-devices.ts";
export * from "./mount/mounts.ts";
export * from "./names.ts";
export * from "./units.ts";
