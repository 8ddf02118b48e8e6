/** The thread side of `long-wait-threads.ts`: calls functions of the C library, one at a time, and answers. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { libcFunction } from "./libc.ts";
import type { LibcFunction } from "./libc.ts";
import type {
  LongCallOutcome,
  LongCallReply,
  LongCallRequest,
  LongCallSetup,
} from "./long-wait-threads.ts";

if (parentPort === null) throw new Error("this file runs in a worker thread only");
const port = parentPort;
const posted = new Int32Array((workerData as LongCallSetup).posted);
const loaded = new Map<string, LibcFunction>();

function load(prototype: string): LibcFunction {
  const present = loaded.get(prototype);
  if (present !== undefined) return present;
  const fn = libcFunction(prototype);
  loaded.set(prototype, fn);
  return fn;
}

function run(request: LongCallRequest): LongCallReply {
  try {
    const calls: LongCallOutcome[] = [];
    for (const { prototype, args } of request) {
      const outcome = load(prototype).sync(...args);
      calls.push({ outcome, args });
      if (outcome.result < 0) break;
    }
    return { kind: "done", calls };
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

answer({ kind: "ready", threadId: libcFunction("int gettid()").sync().result });
serve();
