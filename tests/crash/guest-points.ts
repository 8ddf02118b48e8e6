/** In the lab's guest: stops for good at a named point, so that the host cuts the power right there. */
import { writeSync } from "node:fs";
import type { Kernel } from "@thinpool/thinpool";

/** Steps of the engine's operations, and how often a load passes each at most before it is stopped there. */
const CALLS: Readonly<Record<string, number>> = {
  "message create_snap": 10,
  // A load asks for a new device once a second.
  "message create_thin": 1,
  "message delete": 6,
  "message set_transaction_id": 12,
  suspend: 12,
  resume: 12,
  createDevice: 12,
  loadTable: 12,
  removeDevice: 12,
};

export interface Point {
  readonly name: string;
  readonly mostPasses: number;
}

/** Before and after the effect of each. */
export const POINTS: readonly Point[] = Object.entries(CALLS).flatMap(([call, mostPasses]) =>
  ["before", "after"].map((when) => ({ name: `${when} ${call}`, mostPasses })),
);

export const POINT_MARKER = "@point";

/** The kernel, but the `times`th passing of the point never ends, and stops the whole process. */
export function withPoint(kernel: Kernel, point: string, times: number): Kernel {
  let left = times;
  const pass = (phase: string, call: string): void => {
    if (`${phase} ${call}` !== point) return;
    left -= 1;
    if (left !== 0) return;
    writeSync(1, `${POINT_MARKER} ${point}\n`);
    // Nothing of this process goes on: its other threads have nothing to do without this one.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  };
  const dm = new Proxy(kernel.dm, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        const text = name === "message" ? ` ${String(args[1]).split(" ")[0]}` : "";
        const call = `${String(name)}${text}`;
        pass("before", call);
        const result: unknown = await Reflect.apply(value, target, args);
        pass("after", call);
        return result;
      };
    },
  });
  return { ...kernel, dm };
}
