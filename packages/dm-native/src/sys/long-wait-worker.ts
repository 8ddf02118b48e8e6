/**
 * The thread side of `long-wait-threads.ts`: calls functions of the C library, one at a time, and answers.
 * It loads as little as it can: what it loads stays in memory as long as the process waits for nothing.
 */
import { createRequire } from "node:module";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type koffiTypes from "koffi";
import type { SyscallResult } from "./libc.ts";
import type { LongCallReply, LongCallRequest, LongCallSetup } from "./long-wait-threads.ts";

// Its form for `import` brings in more of Node.
const koffi = createRequire(import.meta.url)("koffi") as typeof koffiTypes;

if (parentPort === null) throw new Error("this file runs in a worker thread only");
const port = parentPort;
const setup = workerData as LongCallSetup;
const posted = new Int32Array(setup.posted);
const library = koffi.load(null);
type Loaded = ReturnType<typeof library.func>;
const loaded = new Map<string, Loaded>();

function load(prototype: string): Loaded {
  const present = loaded.get(prototype);
  if (present !== undefined) return present;
  const fn = library.func(prototype);
  loaded.set(prototype, fn);
  return fn;
}

function call(prototype: string, args: readonly unknown[]): SyscallResult {
  const result = Number(load(prototype)(...args));
  return { result, errno: result < 0 ? koffi.errno() : 0 };
}

function run({ calls, memory = setup.memory }: LongCallRequest): LongCallReply {
  try {
    const outcomes: SyscallResult[] = [];
    for (const { prototype, args } of calls) {
      const outcome = call(
        prototype,
        args.map((argument) => {
          if (typeof argument !== "object" || argument === null) return argument;
          if ("resultOf" in argument) return outcomes[argument.resultOf]?.result;
          return new Uint8Array(memory, argument.at, argument.length);
        }),
      );
      outcomes.push(outcome);
      if (outcome.result < 0) break;
    }
    return { kind: "done", outcomes };
  } catch (error) {
    return { kind: "failed", message: error instanceof Error ? error.message : String(error) };
  }
}

function answer(reply: LongCallReply): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  port.postMessage(reply);
}

/**
 * Ends when the thread is terminated, which wakes Atomics.wait as well. Only what was received counts as
 * served: after a wake-up without a message, seen once under User Mode Linux and not explained, each later
 * call would be answered by the outcome of the one before.
 */
function serve(): never {
  for (let served = 0; ;) {
    Atomics.wait(posted, 0, served);
    // The message is posted before the count is raised, so it is there.
    const received = receiveMessageOnPort(port);
    if (received === undefined) continue;
    served += 1;
    answer(run(received.message as LongCallRequest));
  }
}

answer({ kind: "ready", threadId: call("int gettid()", []).result });
serve();
