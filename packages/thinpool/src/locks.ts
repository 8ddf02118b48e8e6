/**
 * Locks by key, shared or exclusive, first come first served. All keys of a request are asked for at
 * one moment, so requests wait for earlier ones only and never for each other in a circle.
 */
import { PoolError } from "./errors.ts";

/** How many operations may run and wait. Beyond it callers are told at once instead of waiting unseen. */
export const MAX_QUEUED_OPERATIONS = 1024;

export interface LockRequest {
  readonly shared?: readonly string[];
  readonly exclusive?: readonly string[];
}

interface Ticket {
  readonly shared: readonly string[];
  readonly exclusive: readonly string[];
  granted: boolean;
  readonly grant: () => void;
}

export class KeyedLocks {
  readonly #most: number;
  /** For each key those that have it or wait for it, in the order in which they came. */
  readonly #queues = new Map<string, Ticket[]>();
  #length = 0;

  /** `most` of Infinity: where those who come are counted already. */
  constructor(most: number = MAX_QUEUED_OPERATIONS) {
    this.#most = most;
  }

  /** Requests that hold or wait. */
  get length(): number {
    return this.#length;
  }

  /**
   * Runs `body` once nobody before it stands in its way. POOL_OVERLOADED where too many wait already;
   * the signal's reason where it is aborted while waiting.
   */
  async run<T>(
    operation: string,
    request: LockRequest,
    body: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    if (this.#length >= this.#most) throw overloaded(operation, this.#most);
    return this.runAlways(request, body, signal);
  }

  /** The same for what must not be refused, however many wait: a close. */
  async runAlways<T>(
    request: LockRequest,
    body: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const ticket = this.#enqueue(request);
    try {
      if (!ticket.granted) await this.#wait(ticket.ticket, ticket.promise, signal);
      return await body();
    } finally {
      this.#leave(ticket.ticket);
    }
  }

  #enqueue(request: LockRequest) {
    this.#length += 1;
    const exclusive = [...new Set(request.exclusive)];
    const shared = [...new Set(request.shared)].filter((key) => !exclusive.includes(key));
    const { promise, resolve } = Promise.withResolvers<void>();
    const ticket: Ticket = { shared, exclusive, granted: false, grant: resolve };
    for (const key of [...shared, ...exclusive]) {
      const queue = this.#queues.get(key);
      if (queue === undefined) this.#queues.set(key, [ticket]);
      else queue.push(ticket);
    }
    this.#grantIfFree(ticket);
    return { ticket, promise, granted: ticket.granted };
  }

  async #wait(ticket: Ticket, granted: Promise<void>, signal?: AbortSignal): Promise<void> {
    if (signal === undefined) return granted;
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await Promise.race([granted, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    return undefined;
  }

  #leave(ticket: Ticket): void {
    this.#length -= 1;
    const waiting = new Set<Ticket>();
    for (const key of [...ticket.shared, ...ticket.exclusive]) {
      const queue = this.#queues.get(key)?.filter((other) => other !== ticket) ?? [];
      if (queue.length === 0) this.#queues.delete(key);
      else this.#queues.set(key, queue);
      for (const other of queue) if (!other.granted) waiting.add(other);
    }
    for (const other of waiting) this.#grantIfFree(other);
  }

  #grantIfFree(ticket: Ticket): void {
    const free =
      ticket.exclusive.every((key) => this.#queues.get(key)?.[0] === ticket) &&
      ticket.shared.every((key) => this.#isSharedUpTo(key, ticket));
    if (!free) return;
    ticket.granted = true;
    ticket.grant();
  }

  #isSharedUpTo(key: string, ticket: Ticket): boolean {
    for (const other of this.#queues.get(key) ?? []) {
      if (other === ticket) return true;
      if (!other.shared.includes(key)) return false;
    }
    return false;
  }
}

function overloaded(operation: string, most: number): PoolError {
  return new PoolError({
    code: "POOL_OVERLOADED",
    operation,
    object: "the pool's queue",
    reason: `${most} operations are waiting already`,
    hint: "Wait for some of them to end, then try again.",
  });
}
