export * from "./device.ts";
export * from "./errors.ts";
export * from "./kernel.ts";
export * from "./names.ts";
export * from "./pool.ts";
