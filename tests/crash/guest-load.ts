/** In the lab's guest: workers that run their steps at once, and say which have ended. */
import type { Kernel, ThinPool } from "@thinpool/thinpool";
import { DEVICE_BYTES, runStep } from "./guest-pool.ts";
import { BASE, planStep, type WorkerState } from "./worker-plan.ts";

export interface Load {
  /** Ends when every worker has ended its step: nothing is left mounted or half done. */
  stop(): Promise<void>;
}

/** The device that all workers clone. */
export async function makeBase(pool: ThinPool): Promise<void> {
  if (pool.has({ name: BASE })) return;
  await pool.createDevice({ name: BASE, sizeBytes: DEVICE_BYTES });
}

/** `acknowledged(worker, steps)`: so many of its steps have ended. A failure ends the load. */
export function startLoad(options: {
  readonly kernel: Kernel;
  readonly pool: ThinPool;
  readonly seed: number;
  readonly states: readonly WorkerState[];
  readonly acknowledged: (worker: number, steps: number) => void | Promise<void>;
  readonly steps?: number;
}): Load & { readonly done: Promise<void> } {
  const { kernel, pool, seed, states, acknowledged, steps = Number.MAX_SAFE_INTEGER } = options;
  const stopping = new AbortController();
  const work = async (worker: number): Promise<void> => {
    let state = states[worker] ?? {};
    for (let number = 0; number < steps && !stopping.signal.aborted; number += 1) {
      const planned = planStep(seed, worker, number, state);
      await runStep(kernel, pool, planned.step, planned.state);
      state = planned.state;
      await acknowledged(worker, number + 1);
    }
  };
  const working = [...states.keys()].map((worker) => work(worker));
  const done = Promise.all(working).then(() => undefined);
  return {
    done,
    async stop() {
      stopping.abort();
      // One that failed does not end the others.
      await Promise.allSettled(working);
      await done;
    },
  };
}
