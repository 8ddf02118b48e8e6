/** Undoing what was done so far, in reverse, when a later step fails. */
import { NativeError } from "@thinpool/dm-native";
import { PoolError } from "./errors.ts";
import { poolErrorFrom } from "./errors-from-native.ts";
import { LedgerCommitError } from "./store/commit-error.ts";

/**
 * A roll-back that failed itself. What is left is known to the ledger and settled by the next open
 * (INV-7), so nothing more is undone: every step stands on those after it (a record must not go while
 * its thin device is still there). `cause` is the failure that made the roll-back necessary.
 */
export class UndoError extends Error {
  override readonly name = "UndoError";
  readonly failures: readonly Error[];

  constructor(cause: unknown, failures: readonly Error[]) {
    super(failures.map((failure) => failure.message).join("; "), { cause });
    this.failures = failures;
  }
}

/** After it nobody knows what holds until the pool was opened anew: it is degraded (INV-7). */
export function isDoubt(error: unknown): boolean {
  return error instanceof UndoError || error instanceof LedgerCommitError;
}

/**
 * Of a call to the kernel. A NativeError is its answer, or says that it was never asked. Anything else, as the
 * death of the thread that made the call, leaves it open what the kernel did: doubt.
 */
export function outcomeOf(error: unknown): unknown {
  if (error instanceof NativeError) return error;
  return new UndoError(error, [new Error("what the kernel did is not known", { cause: error })]);
}

interface UndoStep {
  readonly what: string;
  readonly step: () => Promise<void> | void;
  readonly always: boolean;
}

export class Undo {
  readonly #steps: UndoStep[] = [];

  /** Remembers how to undo what has just been done. Skipped once a later step's undoing failed. */
  push(what: string, step: () => Promise<void> | void): void {
    this.#steps.push({ what, step, always: false });
  }

  /** The same for what belongs to this process only (a lock, an open file): never skipped. */
  pushAlways(what: string, step: () => Promise<void> | void): void {
    this.#steps.push({ what, step, always: true });
  }

  /** Runs the steps, the latest first. With `broken`, or after a failure, only those for always. */
  async run(broken: boolean): Promise<readonly Error[]> {
    const failures: Error[] = [];
    for (let entry = this.#steps.pop(); entry !== undefined; entry = this.#steps.pop()) {
      if ((broken || failures.length > 0) && !entry.always) continue;
      try {
        await entry.step();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        failures.push(new Error(`${entry.what}: ${reason}`, { cause: error }));
      }
    }
    return failures;
  }
}

/** For `withUndo` in opening and creating: what they made in the kernel stands on no commit of the ledger. */
export function isUndoError(error: unknown): boolean {
  return error instanceof UndoError;
}

/**
 * Runs `body`; when it fails, all that it pushed is undone and its error goes up, or an UndoError.
 * After an error that is `broken` only what is pushed for always is.
 */
export async function withUndo<T>(
  body: (undo: Undo) => Promise<T>,
  broken: (error: unknown) => boolean = isDoubt,
): Promise<T> {
  const undo = new Undo();
  try {
    return await body(undo);
  } catch (error) {
    const failures = await undo.run(broken(error));
    if (failures.length === 0) throw error;
    throw error instanceof UndoError
      ? new UndoError(error.cause, [...error.failures, ...failures])
      : new UndoError(error, failures);
  }
}

/** What the caller is told when a roll-back failed. */
export function degradedError(operation: string, object: string, error: unknown): PoolError {
  const first = error instanceof UndoError ? error.cause : error;
  const isFull = poolErrorFrom(first, { operation, object }).code === "POOL_NO_SPACE";
  const text = first instanceof Error ? first.message : String(first);
  const undo = error instanceof UndoError ? `; undoing it failed as well: ${error.message}` : "";
  return new PoolError({
    code: "POOL_DEGRADED",
    operation,
    object,
    reason: `${text}${undo}`,
    hint: `${isFull ? "Free some space on the filesystem that holds the pool's folder. " : ""}Close the pool and open it again: opening settles what was left half done.`,
    cause: error,
  });
}
