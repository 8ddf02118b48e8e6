export * from "./encode.ts";
export * from "./envelopes.ts";
export * from "./error-codes.ts";
export * from "./limits.ts";
export * from "./methods/index.ts";
export * from "./notifications.ts";
export * from "./parse.ts";
export * from "./streams.ts";
