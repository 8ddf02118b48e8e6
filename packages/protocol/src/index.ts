export * from "./encode.ts";
export * from "./envelopes.ts";
export * from "./error-codes.ts";
export * from "./limits.ts";
export * from "./methods.ts";
export * from "./parse.ts";
