/**
 * A COMMIT that failed (a disk that failed or is full). The WAL may or may not hold it, so the
 * transaction id that it used must not be used again in this run: the pool becomes degraded, and
 * opening it anew reads what the disk really holds (INV-7).
 */
export class LedgerCommitError extends Error {
  override readonly name = "LedgerCommitError";

  constructor(path: string, cause: unknown) {
    super(
      `the commit to ${path} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}
