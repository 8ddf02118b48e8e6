/** What a program that runs `thinpool` needs to understand its outcome. */
export { exitCodeOf, exitCodes } from "./lib/exit-codes.ts";
export type { ExitCode } from "./lib/exit-codes.ts";
export type { Failure } from "./lib/errors.ts";
