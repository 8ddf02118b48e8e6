/**
 * Threads of our own for calls that may wait long (minutes, for ever): libuv's pool has four
 * threads for the whole process, and one stuck suspend in each would stop every file operation.
 *
 * A waiting call can be interrupted: the thread gets a real-time signal whose handler does nothing,
 * so that the system call returns EINTR. The signal may arrive just before the call is entered,
 * therefore it is sent again until the thread answers. A call that the kernel holds uninterruptibly
 * (state D) ends when the kernel lets it.
 */
import { Worker } from "node:worker_threads";
import { NativeError } from "../errors.ts";
import { ERRNO } from "./errno.ts";
import { libcAddress, libcFunction } from "./libc.ts";
import type { LibcArgument, LibcFunction, SyscallResult } from "./libc.ts";

export interface LongWaitOptions {
  /** Aborting interrupts the call; `run` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** False: the call does not keep the process alive. Default: true. */
  readonly ref?: boolean;
}

export interface LongWaitLaneOptions {
  /** Said in errors. */
  readonly name: string;
  /** Threads at most; each is started on demand, and costs some 12 MiB. */
  readonly maxThreads: number;
  /**
   * Another thread is started once the first in the queue has waited so long (default 5): where calls end
   * sooner one thread does them all. 0: at once, for calls that are to wait.
   */
  readonly patienceMs?: number;
  /** Calls that may wait for a free thread. */
  readonly maxQueued: number;
  /** A thread that had nothing to do for so long ends, all but one (default 10,000). */
  readonly idleMs?: number;
}

/** One call of a job. */
export interface LaneCall {
  readonly fn: LibcFunction;
  readonly args: readonly LibcArgument[];
}

/** Main to worker: calls one after another, up to the first that fails. Byte arrays are copies. */
export type LongCallRequest = readonly {
  readonly prototype: string;
  readonly args: readonly LibcArgument[];
}[];

/** What a thread is started with. */
export interface LongCallSetup {
  /**
   * One 32-bit count of the requests posted so far. The thread sleeps on it (Atomics.wait) and not
   * in its event loop: that halves the way there and back.
   */
  readonly posted: SharedArrayBuffer;
}

/** Worker to main. */
export type LongCallReply =
  | { readonly kind: "ready"; readonly threadId: number }
  | { readonly kind: "done"; readonly calls: readonly LongCallOutcome[] }
  | { readonly kind: "failed"; readonly message: string };

/** Of a call that was made; `args` with what the kernel wrote. */
export interface LongCallOutcome {
  readonly outcome: SyscallResult;
  readonly args: readonly LibcArgument[];
}

const DEFAULT_PATIENCE_MS = 5;
const DEFAULT_IDLE_MS = 10_000;
/** Between two signals to a thread that has not answered yet. */
const INTERRUPT_INTERVAL_MS = 10;
/** Real-time signals tried, from the top; the first that nobody has a handler for is taken. */
const HIGHEST_SIGNAL = 62;
const LOWEST_SIGNAL = 50;
/** sizeof(struct sigaction) is 152 on 64-bit Linux, glibc and musl; the handler comes first. */
const SIGACTION_BYTES = 160;

const sigaction = libcFunction("int sigaction(int number, const void *action, void *previous)");
const tgkill = libcFunction("int tgkill(int process, int thread, int number)");

let interruptSignal: number | undefined;

/** Installs the handler once per process; without SA_RESTART, so that system calls return EINTR. */
function installInterruptSignal(): number {
  if (interruptSignal !== undefined) return interruptSignal;
  for (let number = HIGHEST_SIGNAL; number >= LOWEST_SIGNAL; number -= 1) {
    const present = Buffer.alloc(SIGACTION_BYTES);
    const read = sigaction.sync(number, null, present);
    if (read.result !== 0 || present.readBigUInt64LE(0) !== 0n) continue;
    const action = Buffer.alloc(SIGACTION_BYTES);
    // abs(3) takes an int, returns, and touches nothing: a handler that does nothing.
    action.writeBigUInt64LE(libcAddress("abs"), 0);
    if (sigaction.sync(number, action, null).result === 0) {
      interruptSignal = number;
      return number;
    }
  }
  throw new NativeError({
    code: "NATIVE_UNSUPPORTED",
    operation: "sigaction",
    object: `signals ${LOWEST_SIGNAL} to ${HIGHEST_SIGNAL}`,
    reason: "every one has a handler already",
    hint: "Free one of these real-time signals in this process.",
  });
}

interface Job {
  readonly calls: readonly LaneCall[];
  readonly signal: AbortSignal | undefined;
  readonly ref: boolean;
  readonly resolve: (outcomes: readonly SyscallResult[]) => void;
  readonly reject: (reason: unknown) => void;
}

function workerUrl(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./long-wait-worker.${extension}`, import.meta.url);
}

function writeBack(call: LaneCall | undefined, writtenArgs: readonly LibcArgument[]): void {
  for (const [index, argument] of (call?.args ?? []).entries()) {
    const written = writtenArgs[index];
    if (argument instanceof Uint8Array && written instanceof Uint8Array) argument.set(written);
  }
}

/** One thread: runs one job at a time. */
class Thread {
  readonly #worker: Worker;
  readonly #posted = new Int32Array(new SharedArrayBuffer(4));
  readonly #onReady: () => void;
  readonly #onIdle: (thread: Thread) => void;
  readonly #onDeath: (thread: Thread) => void;
  #threadId = 0;
  #job: Job | undefined;
  #nagging: NodeJS.Timeout | undefined;
  #idleSinceMs = 0;
  readonly #abort = (): void => {
    this.interrupt();
    this.#nagging = setInterval(() => this.interrupt(), INTERRUPT_INTERVAL_MS);
  };

  constructor(
    onReady: () => void,
    onIdle: (thread: Thread) => void,
    onDeath: (thread: Thread) => void,
  ) {
    installInterruptSignal();
    this.#onReady = onReady;
    this.#onIdle = onIdle;
    this.#onDeath = onDeath;
    this.#worker = new Worker(workerUrl(), {
      env: {},
      execArgv: [],
      workerData: { posted: this.#posted.buffer } satisfies LongCallSetup,
    });
    this.#worker.on("message", (reply: LongCallReply) => this.#receive(reply));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("exit", () => this.#die(new Error("the thread of a waiting call ended")));
  }

  /** Since when it has nothing to do, by performance.now(). */
  get idleSinceMs(): number {
    return this.#idleSinceMs;
  }

  start(job: Job): void {
    this.#job = job;
    if (job.ref) this.#worker.ref();
    else this.#worker.unref();
    job.signal?.addEventListener("abort", this.#abort, { once: true });
    const request: LongCallRequest = job.calls.map(({ fn, args }) => ({
      prototype: fn.prototype,
      args,
    }));
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(request);
    Atomics.add(this.#posted, 0, 1);
    Atomics.notify(this.#posted, 0);
  }

  /** Makes the system call that the thread waits in return EINTR. */
  interrupt(): void {
    // Before "ready" there is no thread id, and no system call yet; the next try finds both.
    // ESRCH (the thread has ended) needs no action: its exit event settles the job.
    if (this.#threadId !== 0 && this.#job !== undefined) {
      tgkill.sync(process.pid, this.#threadId, installInterruptSignal());
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #receive(reply: LongCallReply): void {
    if (reply.kind === "ready") {
      this.#threadId = reply.threadId;
      this.#onReady();
      return;
    }
    const job = this.#release();
    if (job === undefined) return;
    if (reply.kind === "failed") {
      job.reject(new Error(reply.message));
    } else {
      for (const [index, { args }] of reply.calls.entries()) writeBack(job.calls[index], args);
      const outcomes = reply.calls.map(({ outcome }) => outcome);
      const last = outcomes.at(-1);
      const interrupted = last !== undefined && last.result < 0 && last.errno === ERRNO.EINTR;
      // What had succeeded before the signal came is not thrown away.
      if (interrupted && outcomes.length === 1 && job.signal?.aborted === true) {
        job.reject(job.signal.reason);
      } else {
        job.resolve(outcomes);
      }
    }
    this.#onIdle(this);
  }

  #release(): Job | undefined {
    const job = this.#job;
    this.#job = undefined;
    this.#idleSinceMs = performance.now();
    job?.signal?.removeEventListener("abort", this.#abort);
    clearInterval(this.#nagging);
    // An idle thread does not keep the process alive.
    this.#worker.unref();
    return job;
  }

  #die(error: unknown): void {
    this.#release()?.reject(error);
    this.#onDeath(this);
  }
}

export class LongWaitLane {
  readonly #options: LongWaitLaneOptions;
  readonly #threads = new Set<Thread>();
  readonly #idle: Thread[] = [];
  readonly #queue: Job[] = [];
  /**
   * One thread starts at a time: its start costs more than most calls, and while it starts the
   * threads there are work the queue off.
   */
  #starting: Thread | undefined;
  #patience: NodeJS.Timeout | undefined;
  #trimming: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #onExit = (): void => {
    // Node joins its threads at exit: one that waits in the kernel would hold it for ever.
    for (const thread of this.#threads) thread.interrupt();
  };

  constructor(options: LongWaitLaneOptions) {
    this.#options = options;
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
   * more than most calls do. Stops at the first that fails; its outcome is the last of the result.
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
      if (this.#closed) reject(this.#refusal("it is closed", "Open a new one."));
      else this.#place(job);
    });
  }

  /** Interrupts what waits and ends the threads; resolves when all have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    process.off("exit", this.#onExit);
    clearTimeout(this.#patience);
    clearTimeout(this.#trimming);
    for (const job of this.#queue.splice(0)) {
      job.reject(this.#refusal("it was closed before the call began", "Open a new one."));
    }
    for (const thread of this.#threads) thread.interrupt();
    const nagging = setInterval(this.#onExit, INTERRUPT_INTERVAL_MS);
    try {
      await Promise.all([...this.#threads].map((thread) => thread.stop()));
    } finally {
      clearInterval(nagging);
    }
  }

  #place(job: Job): void {
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      idle.start(job);
    } else if (this.#mayStart() && (this.#threads.size === 0 || this.#patienceMs === 0)) {
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

  #mayStart(): boolean {
    return this.#starting === undefined && this.#threads.size < this.#options.maxThreads;
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? DEFAULT_PATIENCE_MS;
  }

  /** Starts a thread for whoever is the first in the queue now and still is when patience ends. */
  #growInTime(): void {
    const first = this.#queue[0];
    if (first === undefined || this.#patience !== undefined || !this.#mayStart()) return;
    this.#patience = setTimeout(() => {
      this.#patience = undefined;
      if (this.#queue[0] === first && this.#mayStart()) {
        this.#queue.shift();
        this.#startThread(first);
      }
      this.#growInTime();
    }, this.#patienceMs);
  }

  /** How many may be queued: those that wait for a thread yet to be started count as placed. */
  #room(): number {
    return this.#options.maxQueued + this.#options.maxThreads - this.#threads.size;
  }

  #startThread(job: Job): void {
    if (this.#threads.size === 0) process.on("exit", this.#onExit);
    const thread = new Thread(
      () => this.#started(),
      (free) => this.#next(free),
      (dead) => this.#forget(dead),
    );
    this.#starting = thread;
    this.#threads.add(thread);
    thread.start(job);
  }

  #started(): void {
    this.#starting = undefined;
    if (!this.#closed) this.#growInTime();
  }

  #next(thread: Thread): void {
    const job = this.#queue.shift();
    if (job === undefined) {
      this.#idle.push(thread);
      this.#trimInTime();
    } else {
      thread.start(job);
    }
  }

  /** The last that was used is the first that is used again, so those that nobody needs are at the front. */
  #trimInTime(): void {
    if (this.#closed || this.#trimming !== undefined || this.#idle.length < 2) return;
    const idleMs = this.#options.idleMs ?? DEFAULT_IDLE_MS;
    this.#trimming = setTimeout(() => {
      this.#trimming = undefined;
      const now = performance.now();
      while (this.#idle.length > 1 && now - (this.#idle[0]?.idleSinceMs ?? now) >= idleMs) {
        // Its exit event takes it off the lane.
        void this.#idle.shift()?.stop();
      }
      this.#trimInTime();
    }, idleMs);
    this.#trimming.unref();
  }

  #unqueue(job: Job): void {
    const index = this.#queue.indexOf(job);
    if (index < 0) return;
    this.#queue.splice(index, 1);
    job.reject(job.signal?.reason);
  }

  #forget(thread: Thread): void {
    this.#threads.delete(thread);
    if (this.#starting === thread) this.#starting = undefined;
    const index = this.#idle.indexOf(thread);
    if (index >= 0) this.#idle.splice(index, 1);
    if (this.#threads.size === 0) process.off("exit", this.#onExit);
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
