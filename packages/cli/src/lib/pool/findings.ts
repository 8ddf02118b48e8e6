/** What a check found, as text and as an exit code. */
import type { CheckReport } from "@thinpool/thinpool";
import { type ExitCode, exitCodes } from "../exit-codes.ts";

export function renderCheck({ metadata, findings }: CheckReport): string {
  const lines = findings.map(
    ({ code, object, reason, action }) => `${code}  ${object}: ${reason}\n    ${action}`,
  );
  const found = findings.length === 0 ? "nothing is wrong" : `${findings.length} found`;
  return [`metadata ${metadata}, ${found}`, ...lines].join("\n");
}

/** Not known is not well; what is found needs repair. */
export function exitCodeOfCheck({ metadata, findings }: CheckReport): ExitCode {
  if (findings.some(({ code }) => code !== "TOOL_MISSING")) return exitCodes.needsRepair;
  return metadata === "clean" ? exitCodes.done : exitCodes.failed;
}
