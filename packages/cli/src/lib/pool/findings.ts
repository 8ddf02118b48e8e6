/** What a check found, as text and as an exit code. */
import type { CheckReport } from "@thinpool/sdk";
import { type ExitCode, exitCodes } from "../exit-codes.ts";

export function renderCheck({ metadata, findings, findingsLeftOut }: CheckReport): string {
  const lines = findings.map(
    ({ code, object, reason, action }) => `${code}  ${object}: ${reason}\n    ${action}`,
  );
  const count = findings.length + findingsLeftOut;
  const found = count === 0 ? "nothing is wrong" : `${count} found`;
  const more = findingsLeftOut === 0 ? [] : [`${findingsLeftOut} more are not told`];
  return [`metadata ${metadata}, ${found}`, ...lines, ...more].join("\n");
}

/** Not known is not well; what is found needs repair. */
export function exitCodeOfCheck({ metadata, findings }: CheckReport): ExitCode {
  if (findings.some(({ code }) => code !== "TOOL_MISSING")) return exitCodes.needsRepair;
  return metadata === "clean" ? exitCodes.done : exitCodes.failed;
}
