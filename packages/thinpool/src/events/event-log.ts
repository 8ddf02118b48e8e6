/** A pool's events for its readers: what is durable and settled, in order, each once. */
import type { TransactionId } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import type { PoolEvent } from "./event.ts";
import type { EventTable, NotedEvent } from "./event-table.ts";

/** What no commit has carried after this long gets a commit of its own. */
export const FLUSH_AFTER_MS = 1_000;
/** Read from the ledger at a time, so that a slow reader holds little. */
const PAGE_EVENTS = 100;

export interface EventsOptions {
  /** Events with a higher number; 0 for all there are. Not given: those from now on. */
  readonly after?: number;
  readonly signal?: AbortSignal;
}

export class EventLog {
  readonly #table: EventTable;
  readonly #current: () => TransactionId;
  readonly #failed: (error: unknown) => void;
  #waiting: (() => void)[] = [];
  /** Undefined where it has to be looked up: many readers ask for it after each commit. */
  #last: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: {
    readonly table: EventTable;
    /** The transaction that the pool is at. */
    readonly current: () => TransactionId;
    /** A flush of its own failed. */
    readonly failed: (error: unknown) => void;
  }) {
    this.#table = options.table;
    this.#current = options.current;
    this.#failed = options.failed;
    this.#table.onCommitted = () => this.settled();
  }

  /** The first that is still kept; 1 where there is none yet. */
  get first(): number {
    return this.#table.first();
  }

  get last(): number {
    this.#last ??= this.#table.last(this.#current());
    return this.#last;
  }

  note(event: NotedEvent): void {
    if (this.#closed) return;
    this.#table.note(event, Date.now());
    this.#timer ??= setTimeout(() => this.#flushInTime(), FLUSH_AFTER_MS).unref();
  }

  /** The pool's transaction id has moved, or a commit was made: readers look again. */
  settled(): void {
    this.#last = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Readers end; what they have not read is there for them when the pool is opened again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.settled();
  }

  /**
   * POOL_EVENTS_LOST where the events after `after` are no longer all kept, also while reading: the
   * reader was away, or too slow, for longer than MAX_KEPT_EVENTS. Ends when the pool is closed;
   * rejects with the signal's reason when aborted.
   */
  async *read(options: EventsOptions): AsyncGenerator<PoolEvent, void, undefined> {
    const { signal } = options;
    signal?.throwIfAborted();
    // Asked for before the pool was closed, begun after.
    if (this.#closed) return;
    let seen = options.after ?? this.last;
    this.#checkStart(seen);
    for (;;) {
      for (const event of this.#next(seen)) {
        signal?.throwIfAborted();
        yield event;
        seen = event.number;
      }
      if (this.#closed) return;
      if (this.last <= seen) await this.#more(signal);
    }
  }

  #next(after: number): readonly PoolEvent[] {
    if (this.#closed) return [];
    const first = this.#table.first();
    if (after < first - 1) throw lost(after, first);
    return this.#table.page(after, this.last, PAGE_EVENTS);
  }

  #checkStart(after: number): void {
    if (Number.isSafeInteger(after) && after >= 0 && after <= this.last) return;
    throw new PoolError({
      code: "POOL_OPTION_INVALID",
      operation: "events",
      object: `after ${after}`,
      reason: `the pool's last event is ${this.last}`,
      hint: "Give the number of an event of this pool, or 0 for all that are kept.",
    });
  }

  async #more(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // The reason is the caller's own value, handed back as promised.
    const abort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    this.#waiting.push(resolve);
    try {
      signal?.throwIfAborted();
      await promise;
    } finally {
      this.#waiting = this.#waiting.filter((waiting) => waiting !== resolve);
      signal?.removeEventListener("abort", abort);
    }
  }

  #flushInTime(): void {
    this.#timer = undefined;
    try {
      this.#table.flush();
    } catch (error) {
      this.#failed(error);
    }
  }
}

function lost(after: number, first: number): PoolError {
  return new PoolError({
    code: "POOL_EVENTS_LOST",
    operation: "events",
    object: `after ${after}`,
    reason: `the first event that is still kept is ${first}`,
    hint: "List the devices anew, then go on from the pool's last event.",
  });
}
