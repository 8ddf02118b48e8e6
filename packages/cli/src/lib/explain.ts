/** An error code of the daemon or of the SDK, explained. */
import { errorCodes, isErrorCode } from "@thinpool/protocol";
import { clientErrorCodes } from "@thinpool/sdk";
import { UsageError } from "./errors.ts";
import { type ExitCode, exitCodeOf } from "./exit-codes.ts";

export interface Explanation {
  readonly code: string;
  /** The JSON-RPC number; undefined for what the SDK finds out by itself. */
  readonly number: number | undefined;
  readonly retryable: boolean;
  readonly hint: string;
  readonly exitCode: ExitCode;
}

/** UsageError for a code that there is not, with the nearest ones by their beginning. */
export function explain(text: string): Explanation {
  const code = text.toUpperCase();
  const exitCode = exitCodeOf(code);
  if (isErrorCode(code)) return { code, ...errorCodes[code], exitCode };
  if (Object.hasOwn(clientErrorCodes, code)) {
    const entry = clientErrorCodes[code as keyof typeof clientErrorCodes];
    return { code, number: undefined, ...entry, exitCode };
  }
  const all = [...Object.keys(errorCodes), ...Object.keys(clientErrorCodes)].toSorted();
  throw new UsageError({
    reason: `there is no error code ${JSON.stringify(code)}`,
    hint: `The codes are ${all.join(", ")}.`,
  });
}
