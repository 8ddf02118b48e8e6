/** An error code of the daemon or of the SDK, explained: the protocol's own table, and the exit code. */
import { clientErrorCodes, errorCodes, type ErrorExplanation, explain } from "@thinpool/protocol";
import { UsageError } from "./errors.ts";
import { type ExitCode, exitCodeOf } from "./exit-codes.ts";

export type Explanation = ErrorExplanation & { readonly exitCode: ExitCode };

/** UsageError, with all codes, for one that there is not. */
export function explanationOf(text: string): Explanation {
  const code = text.toUpperCase();
  const found = explain(code);
  if (found !== undefined) return { ...found, exitCode: exitCodeOf(code) };
  const all = [...Object.keys(errorCodes), ...Object.keys(clientErrorCodes)].toSorted();
  throw new UsageError({
    reason: `there is no error code ${JSON.stringify(code)}`,
    hint: `The codes are ${all.join(", ")}.`,
  });
}
