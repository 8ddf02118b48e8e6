/** Asks on a terminal; in a script nobody is there to answer, and the command itself is the answer. */
import { createInterface } from "node:readline/promises";
import { UsageError } from "./errors.ts";

export function someoneIsThere(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** Throws unless the answer is yes. */
export async function confirm(question: string): Promise<void> {
  if (!someoneIsThere()) return;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    // Ctrl-C and Ctrl-D reject it, and are a no.
    const answer = await terminal.question(`${question} [y/N] `).catch(noAnswer);
    if (/^y(es)?$/i.test(answer.trim())) return;
  } finally {
    terminal.close();
  }
  throw new UsageError({
    reason: "not confirmed, nothing was changed",
    hint: "Answer y, or add --yes.",
  });
}

function noAnswer(error: unknown): string {
  if (!(error instanceof Error) || error.name !== "AbortError") throw error;
  process.stderr.write("\n");
  return "";
}
