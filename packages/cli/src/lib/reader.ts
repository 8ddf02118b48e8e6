/**
 * Whoever reads standard output may go before all is written, as `head` does. That is no failure of lists:
 * what is written then goes nowhere, and what would go on for ever ends.
 */

const gone = new AbortController();

/** Set once the reader is known to be gone. */
export const readerGone: AbortSignal = gone.signal;

export function isReaderGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EPIPE";
}

let watches = false;

/** Once for a process, and before anything is written. */
export function watchReader(): void {
  if (watches) return;
  watches = true;
  process.stdout.on("error", (error) => {
    if (!isReaderGone(error)) throw error;
    gone.abort();
  });
}
