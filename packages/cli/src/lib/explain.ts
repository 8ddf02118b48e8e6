/** An error code explained: by the protocol's table, or as one of those not on the wire; and its exit code. */
import { clientErrorCodes, errorCodes, type ErrorExplanation, explain } from "@thinpool/protocol";
import { UsageError } from "./errors.ts";
import { type ExitCode, exitCodeOf } from "./exit-codes.ts";
import { explainOwn, type OwnExplanation, ownErrorCodes } from "./own-errors.ts";

export type Explanation = (ErrorExplanation | OwnExplanation) & { readonly exitCode: ExitCode };

/** UsageError, with all codes, for one that there is not. */
export function explanationOf(text: string): Explanation {
  const code = text.toUpperCase();
  const found = explain(code) ?? explainOwn(code);
  if (found !== undefined) return { ...found, exitCode: exitCodeOf(code) };
  const onTheWire = [...Object.keys(errorCodes), ...Object.keys(clientErrorCodes)];
  const all = [...onTheWire, ...ownErrorCodes].toSorted();
  throw new UsageError({
    reason: `there is no error code ${JSON.stringify(code)}`,
    hint: `The codes are ${all.join(", ")}.`,
  });
}
