/** Ctrl-C during long work. */
import { CommandError } from "./errors.ts";

/**
 * Runs `work` with a signal that the first SIGINT or SIGTERM sets; a second one ends the process as if
 * nobody listened.
 */
export async function withInterruption<Result>(
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const name of signals) process.once(name, abort);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of signals) process.off(name, abort);
  }
}

/**
 * As `withInterruption`. What work throws after the signal is reported as CANCELLED, with `left`: what
 * there is of it still; but a CommandError of its own knows that better.
 */
export function interruptible<Result>(
  operation: { readonly name: string; readonly object: string; readonly left: string },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  return withInterruption(async (signal) => {
    try {
      return await work(signal);
    } catch (error) {
      if (!signal.aborted || error instanceof CommandError) throw error;
      throw new CommandError({
        code: "CANCELLED",
        operation: operation.name,
        object: operation.object,
        reason: "cancelled",
        hint: operation.left,
        cause: error,
      });
    }
  });
}
