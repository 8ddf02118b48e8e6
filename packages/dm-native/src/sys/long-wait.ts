/**
 * Lanes of threads of our own for calls that may wait long (minutes, for ever): libuv's pool has four
 * threads for the whole process, and one stuck suspend in each would stop every file operation. A lane
 * bounds how many such calls of one kind are under way at once; the threads are all lanes' in common.
 */
import { NativeError } from "../errors.ts";
import type { LibcArgument, LibcFunction, SyscallResult } from "./libc.ts";
import { threadStore } from "./long-wait-threads.ts";
import type { Job, LaneCall, ThreadStore, ThreadUser, WaitThread } from "./long-wait-threads.ts";

export interface LongWaitOptions {
  /** Aborting interrupts the call; `run` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** False: the call does not keep the process alive. Default: true. */
  readonly ref?: boolean;
}

export interface LongWaitLaneOptions {
  /** Said in errors. */
  readonly name: string;
  /** Calls under way at once, each on a thread, which costs some 12 MiB. */
  readonly maxThreads: number;
  /**
   * Where no thread is idle another is started once the first in the queue has waited so long (default 5):
   * where calls end sooner one thread does them all. 0: at once, for calls that are to wait.
   */
  readonly patienceMs?: number;
  /** Calls that may wait for a free thread. */
  readonly maxQueued: number;
  /** Where its threads come from. Default: the process's store. */
  readonly threads?: ThreadStore;
}

const DEFAULT_PATIENCE_MS = 5;

export class LongWaitLane {
  readonly #options: LongWaitLaneOptions;
  readonly #store: ThreadStore;
  readonly #busy = new Set<WaitThread>();
  readonly #queue: Job[] = [];
  /**
   * One thread starts at a time: its start costs more than most calls, and while it starts the
   * threads there are work the queue off.
   */
  #starting: WaitThread | undefined;
  #patience: NodeJS.Timeout | undefined;
  /** It counts among the store's lanes: from its first call on. */
  #isOpen = false;
  #closed = false;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;
  readonly #user: ThreadUser = {
    ready: () => this.#started(),
    free: (thread) => this.#next(thread),
    ended: (thread) => this.#forget(thread),
  };

  constructor(options: LongWaitLaneOptions) {
    this.#options = options;
    this.#store = options.threads ?? threadStore;
  }

  /**
   * Calls `fn` on a thread of the lane. Byte arrays among `args` are written back in place.
   * Rejects with NATIVE_REFUSED where all threads are taken and the queue is full.
   */
  async run(
    fn: LibcFunction,
    args: readonly LibcArgument[],
    options: LongWaitOptions = {},
  ): Promise<SyscallResult> {
    const [outcome] = await this.runAll([{ fn, args }], options);
    if (outcome === undefined) throw new Error("a call without an outcome");
    return outcome;
  }

  /**
   * As `run`, for several calls on one thread with no way back in between: a way there and back costs
   * more than most calls do. Stops at the first that fails; its outcome is the last of the result. An argument
   * may be what an earlier one of them returned: what that one opened the caller closes, where none of them does.
   */
  runAll(
    calls: readonly LaneCall[],
    options: LongWaitOptions = {},
  ): Promise<readonly SyscallResult[]> {
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted === true) {
        reject(options.signal.reason as Error);
        return;
      }
      const { signal, ref = true } = options;
      const job: Job = { calls, signal, ref, resolve, reject };
      if (this.#closed) {
        reject(this.#refusal("it is closed", "Open a new one."));
        return;
      }
      if (!this.#isOpen) this.#store.open();
      this.#isOpen = true;
      this.#place(job);
    });
  }

  /** Interrupts what waits; resolves when all calls have ended, and the threads if no other lane is left. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#patience);
    for (const job of this.#queue.splice(0)) {
      job.reject(this.#refusal("it was closed before the call began", "Open a new one."));
    }
    if (this.#busy.size > 0) {
      const drained = new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      const reason = this.#refusal("it was closed", "Open a new one.");
      for (const thread of this.#busy) thread.cancel(reason);
      await drained;
    }
    if (this.#isOpen) await this.#store.close();
  }

  #place(job: Job): void {
    if (this.#queue.length === 0 && this.#takeIdle(job)) return;
    if (this.#mayStart() && (this.#busy.size === 0 || this.#patienceMs === 0)) {
      this.#startThread(job);
    } else if (this.#queue.length < this.#room()) {
      this.#queue.push(job);
      job.signal?.addEventListener("abort", () => this.#unqueue(job), { once: true });
      this.#growInTime();
    } else {
      const { maxThreads, maxQueued } = this.#options;
      job.reject(
        this.#refusal(
          `${maxThreads} calls wait already and ${maxQueued} more are queued`,
          "Wait for one of them to end, or abort it.",
        ),
      );
    }
  }

  #takeIdle(job: Job): boolean {
    const idle = this.#busy.size < this.#options.maxThreads ? this.#store.take() : undefined;
    if (idle === undefined) return false;
    this.#use(idle, job);
    return true;
  }

  #use(thread: WaitThread, job: Job): void {
    this.#busy.add(thread);
    thread.start(job, this.#user);
  }

  #mayStart(): boolean {
    return this.#starting === undefined && this.#busy.size < this.#options.maxThreads;
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? DEFAULT_PATIENCE_MS;
  }

  /** A thread more for whoever is the first in the queue now and still is when patience ends. */
  #growInTime(): void {
    const first = this.#queue[0];
    if (first === undefined || this.#patience !== undefined || !this.#mayStart()) return;
    this.#patience = setTimeout(() => {
      this.#patience = undefined;
      if (this.#queue[0] === first && this.#mayStart()) {
        this.#queue.shift();
        if (!this.#takeIdle(first)) this.#startThread(first);
      }
      this.#growInTime();
    }, this.#patienceMs);
  }

  /** How many may be queued: those that wait for a thread yet to be started count as placed. */
  #room(): number {
    return this.#options.maxQueued + this.#options.maxThreads - this.#busy.size;
  }

  #startThread(job: Job): void {
    const thread = this.#store.start();
    this.#starting = thread;
    this.#use(thread, job);
  }

  #started(): void {
    this.#starting = undefined;
    if (!this.#closed) this.#growInTime();
  }

  #next(thread: WaitThread): void {
    const job = this.#queue.shift();
    if (job !== undefined) {
      thread.start(job, this.#user);
      return;
    }
    this.#busy.delete(thread);
    this.#store.put(thread);
    if (this.#busy.size === 0) this.#drained?.();
  }

  #unqueue(job: Job): void {
    const index = this.#queue.indexOf(job);
    if (index < 0) return;
    this.#queue.splice(index, 1);
    job.reject(job.signal?.reason);
  }

  #forget(thread: WaitThread): void {
    this.#busy.delete(thread);
    if (this.#starting === thread) this.#starting = undefined;
    if (this.#busy.size === 0) this.#drained?.();
    const job = this.#closed ? undefined : this.#queue.shift();
    if (job !== undefined) this.#place(job);
  }

  #refusal(reason: string, hint: string): NativeError {
    return new NativeError({
      code: "NATIVE_REFUSED",
      operation: "waiting call",
      object: `the lane "${this.#options.name}"`,
      reason,
      hint,
    });
  }
}
