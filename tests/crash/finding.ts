/** What a check found wrong. Its kind is the counter of the closing line that it adds to. */
export type FindingKind =
  /** Something acknowledged is not there, or not with its content. */
  | "lost"
  /** Something is left that nobody will ever take away. */
  | "leaked"
  /** Anything else: an error that should not be, half of something, a book that does not balance. */
  | "failed";

export class Finding extends Error {
  override readonly name = "Finding";
  readonly kind: FindingKind;

  constructor(kind: FindingKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

export function expect(condition: boolean, kind: FindingKind, message: () => string): void {
  if (!condition) throw new Finding(kind, message());
}

export interface Totals {
  tried: number;
  lost: number;
  leaked: number;
  failed: number;
}

/** The last line on stdout; the exit code that goes with it. */
export function closingLine(
  soak: "crash" | "power" | "flush",
  seed: number,
  totals: Totals,
  startedAtMs: number,
): number {
  const seconds = Math.round((performance.now() - startedAtMs) / 100) / 10;
  process.stdout.write(`${JSON.stringify({ soak, seed, ...totals, seconds })}\n`);
  const clean = totals.lost === 0 && totals.leaked === 0 && totals.failed === 0;
  return clean && totals.tried > 0 ? 0 : 1;
}
