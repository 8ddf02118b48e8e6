/**
 * The threads behind `long-wait.ts`. Lanes take them from a store for the length of a call and put them
 * back, so that a process with many lanes keeps one idle thread and not one for each.
 *
 * A waiting call can be interrupted: the thread gets a real-time signal whose handler does nothing,
 * so that the system call returns EINTR. The signal may arrive just before the call is entered,
 * therefore it is sent again until the thread answers. A call that the kernel holds uninterruptibly
 * (state D) ends when the kernel lets it.
 */
import { Worker } from "node:worker_threads";
import type { ResourceLimits } from "node:worker_threads";
import { NativeError } from "../errors.ts";
import { ERRNO } from "./errno.ts";
import { libcAddress, libcFunction } from "./libc.ts";
import type { LibcArgument, LibcFunction, SyscallResult } from "./libc.ts";

/** What an earlier call of the same job returned: a descriptor that it opened. */
export interface ResultOf {
  /** The call's place in the job. */
  readonly resultOf: number;
}

/** One call of a job. */
export interface LaneCall {
  readonly fn: LibcFunction;
  readonly args: readonly (LibcArgument | ResultOf)[];
}

/** Where in the memory that both threads share a byte array lies. */
export interface SharedBytes {
  readonly at: number;
  readonly length: number;
}

/** Main to worker: calls one after another, up to the first that fails. */
export interface LongCallRequest {
  readonly calls: readonly {
    readonly prototype: string;
    readonly args: readonly (Exclude<LibcArgument, Uint8Array> | SharedBytes | ResultOf)[];
  }[];
  /** In place of the thread's own, which is too small for this request. */
  readonly memory?: SharedArrayBuffer;
}

/** What a thread is started with. */
export interface LongCallSetup {
  /**
   * One 32-bit count of the requests posted so far. The thread sleeps on it (Atomics.wait) and not
   * in its event loop: that halves the way there and back.
   */
  readonly posted: SharedArrayBuffer;
  /** Holds the byte arrays of a request: copies of them would be garbage in both threads. */
  readonly memory: SharedArrayBuffer;
}

/** Worker to main: `outcomes` of the calls that were made. */
export type LongCallReply =
  | { readonly kind: "ready"; readonly threadId: number }
  | { readonly kind: "done"; readonly outcomes: readonly SyscallResult[] }
  | { readonly kind: "failed"; readonly message: string };

export interface Job {
  readonly calls: readonly LaneCall[];
  readonly signal: AbortSignal | undefined;
  readonly ref: boolean;
  readonly resolve: (outcomes: readonly SyscallResult[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** Who has a thread out of the store; told of it after the job is settled. */
export interface ThreadUser {
  /** It has started, and works on its first job from now on. */
  ready(): void;
  free(thread: WaitThread): void;
  ended(thread: WaitThread): void;
}

/** A thread that had nothing to do for so long ends, all but one. */
const DEFAULT_IDLE_MS = 10_000;
/** Between two signals to a thread that has not answered yet. */
const INTERRUPT_INTERVAL_MS = 10;
/** Real-time signals tried, from the top; the first that nobody has a handler for is taken. */
const HIGHEST_SIGNAL = 62;
const LOWEST_SIGNAL = 50;
/** sizeof(struct sigaction) is 152 on 64-bit Linux, glibc and musl; the handler comes first. */
const SIGACTION_BYTES = 160;

/** Of a thread's own memory: a run of ioctls, or a status of some hundred lines. */
const MEMORY_BYTES = 64 * 1024;
/** Of the structures in it. */
const ALIGNMENT_BYTES = 8;
/**
 * What calls leave behind on a thread's heap, a few hundred bytes each, is collected after so much; else after
 * as much as suits a program. The old generation has no bound: a thread that meets it dies, and a call's
 * outcome with it.
 */
const HEAP_LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 2 };

const sigaction = libcFunction("int sigaction(int number, const void *action, void *previous)");
const tgkill = libcFunction("int tgkill(int process, int thread, int number)");

let interruptSignal: number | undefined;

/** Installs the handler once per process; without SA_RESTART, so that system calls return EINTR. */
function installInterruptSignal(): number {
  if (interruptSignal !== undefined) return interruptSignal;
  // abs(3) takes an int, returns, and touches nothing: a handler that does nothing.
  const handler = libcAddress("abs");
  for (let number = HIGHEST_SIGNAL; number >= LOWEST_SIGNAL; number -= 1) {
    const present = Buffer.alloc(SIGACTION_BYTES);
    const read = sigaction.sync(number, null, present);
    const taken = present.readBigUInt64LE(0);
    if (read.result !== 0 || (taken !== 0n && taken !== handler)) continue;
    const action = Buffer.alloc(SIGACTION_BYTES);
    action.writeBigUInt64LE(handler, 0);
    // With this handler already it is ours: another thread has this module as well, or had.
    if (taken === handler || sigaction.sync(number, action, null).result === 0) {
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

function workerUrl(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./long-wait-worker.${extension}`, import.meta.url);
}

interface PlacedRequest {
  readonly request: LongCallRequest;
  readonly arrays: readonly { readonly original: Uint8Array; readonly shared: Uint8Array }[];
}

function alignedLength(bytes: Uint8Array): number {
  return Math.ceil(bytes.length / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

/** Copies the calls' byte arrays into the thread's memory, or where they don't fit into some of their own. */
function place(calls: readonly LaneCall[], own: SharedArrayBuffer): PlacedRequest {
  let size = 0;
  for (const { args } of calls) {
    for (const argument of args) {
      if (argument instanceof Uint8Array) size += alignedLength(argument);
    }
  }
  const memory = size > own.byteLength ? new SharedArrayBuffer(size) : own;
  const arrays: { original: Uint8Array; shared: Uint8Array }[] = [];
  let at = 0;
  const share = (original: Uint8Array): SharedBytes => {
    const { length } = original;
    const shared = new Uint8Array(memory, at, length);
    shared.set(original);
    arrays.push({ original, shared });
    at += alignedLength(original);
    return { at: shared.byteOffset, length };
  };
  const placed = calls.map(({ fn, args }) => ({
    prototype: fn.prototype,
    args: args.map((argument) => (argument instanceof Uint8Array ? share(argument) : argument)),
  }));
  return { request: { calls: placed, ...(memory === own ? {} : { memory }) }, arrays };
}

const living = new Set<WaitThread>();

/** Node joins its threads at exit: one that waits in the kernel would hold it for ever. */
function interruptAll(): void {
  for (const thread of living) thread.interrupt();
}

/** Runs one job at a time. */
export class WaitThread {
  readonly #worker: Worker;
  readonly #posted = new Int32Array(new SharedArrayBuffer(4));
  readonly #memory = new SharedArrayBuffer(MEMORY_BYTES);
  readonly #onEnd: (thread: WaitThread) => void;
  #threadId = 0;
  #user: ThreadUser | undefined;
  #job: Job | undefined;
  #arrays: PlacedRequest["arrays"] = [];
  #cancelled: { readonly reason: unknown } | undefined;
  #nagging: NodeJS.Timeout | undefined;
  #idleSinceMs = 0;
  readonly #abort = (): void => this.cancel(this.#job?.signal?.reason);

  constructor(onEnd: (thread: WaitThread) => void) {
    installInterruptSignal();
    this.#onEnd = onEnd;
    this.#worker = new Worker(workerUrl(), {
      env: {},
      execArgv: [],
      resourceLimits: HEAP_LIMITS,
      workerData: { posted: this.#posted.buffer, memory: this.#memory } satisfies LongCallSetup,
    });
    this.#worker.on("message", (reply: LongCallReply) => this.#receive(reply));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("exit", () => this.#die(new Error("the thread of a waiting call ended")));
    if (living.size === 0) process.on("exit", interruptAll);
    living.add(this);
  }

  /** Since when it has nothing to do, by performance.now(). */
  get idleSinceMs(): number {
    return this.#idleSinceMs;
  }

  start(job: Job, user: ThreadUser): void {
    this.#job = job;
    this.#user = user;
    if (job.ref) this.#worker.ref();
    else this.#worker.unref();
    job.signal?.addEventListener("abort", this.#abort, { once: true });
    const { request, arrays } = place(job.calls, this.#memory);
    this.#arrays = arrays;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(request);
    Atomics.add(this.#posted, 0, 1);
    Atomics.notify(this.#posted, 0);
  }

  /** Interrupts the job's call until it returns; the job rejects with the reason, if this was its first call. */
  cancel(reason: unknown): void {
    if (this.#job === undefined || this.#cancelled !== undefined) return;
    this.#cancelled = { reason };
    this.interrupt();
    this.#nagging = setInterval(() => this.interrupt(), INTERRUPT_INTERVAL_MS);
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
      this.#user?.ready();
      return;
    }
    const cancelled = this.#cancelled;
    const arrays = this.#arrays;
    const [job, user] = this.#release();
    if (job === undefined) return;
    if (reply.kind === "failed") {
      job.reject(new Error(reply.message));
    } else {
      for (const { original, shared } of arrays) original.set(shared);
      const { outcomes } = reply;
      const last = outcomes.at(-1);
      const interrupted = last !== undefined && last.result < 0 && last.errno === ERRNO.EINTR;
      // What had succeeded before the signal came is not thrown away.
      if (interrupted && outcomes.length === 1 && cancelled !== undefined) {
        job.reject(cancelled.reason);
      } else {
        job.resolve(outcomes);
      }
    }
    user?.free(this);
  }

  #release(): readonly [Job | undefined, ThreadUser | undefined] {
    const released = [this.#job, this.#user] as const;
    this.#job = undefined;
    this.#user = undefined;
    this.#cancelled = undefined;
    this.#arrays = [];
    this.#idleSinceMs = performance.now();
    released[0]?.signal?.removeEventListener("abort", this.#abort);
    clearInterval(this.#nagging);
    // An idle thread does not keep the process alive.
    this.#worker.unref();
    return released;
  }

  #die(error: unknown): void {
    if (!living.delete(this)) return;
    if (living.size === 0) process.off("exit", interruptAll);
    const [job, user] = this.#release();
    job?.reject(error);
    this.#onEnd(this);
    user?.ended(this);
  }
}

/** Idle threads, and how long they stay. */
export class ThreadStore {
  readonly #idleMs: number;
  readonly #idle: WaitThread[] = [];
  #openLanes = 0;
  #trimming: NodeJS.Timeout | undefined;

  constructor(idleMs: number = DEFAULT_IDLE_MS) {
    this.#idleMs = idleMs;
  }

  /** While there is a lane one idle thread stays. */
  open(): void {
    this.#openLanes += 1;
  }

  /** Resolves when the idle threads have ended, if this lane was the last. */
  async close(): Promise<void> {
    this.#openLanes -= 1;
    if (this.#openLanes > 0) return;
    clearTimeout(this.#trimming);
    this.#trimming = undefined;
    await Promise.all(this.#idle.splice(0).map((thread) => thread.stop()));
  }

  /** The one that was used last: those that nobody needs stay at the front. */
  take(): WaitThread | undefined {
    return this.#idle.pop();
  }

  /** A new one. */
  start(): WaitThread {
    return new WaitThread((ended) => {
      const index = this.#idle.indexOf(ended);
      if (index >= 0) this.#idle.splice(index, 1);
    });
  }

  put(thread: WaitThread): void {
    this.#idle.push(thread);
    this.#trimInTime();
  }

  #trimInTime(): void {
    if (this.#trimming !== undefined || this.#idle.length < 2) return;
    this.#trimming = setTimeout(() => {
      this.#trimming = undefined;
      const now = performance.now();
      while (this.#idle.length > 1 && now - (this.#idle[0]?.idleSinceMs ?? now) >= this.#idleMs) {
        void this.#idle.shift()?.stop();
      }
      this.#trimInTime();
    }, this.#idleMs);
    this.#trimming.unref();
  }
}

/** The process's own. */
export const threadStore: ThreadStore = new ThreadStore();
