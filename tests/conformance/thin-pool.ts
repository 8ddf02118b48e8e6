/**
 * What the device-mapper does, case by case. The same cases run on the simulated kernel (in the unit
 * tests) and on a real one (in the lab): where the two differ, the simulation is wrong.
 */
import { test } from "node:test";
import { DEVICES, LOOPS } from "./devices.ts";
import { Bench, type ConformanceKernel } from "./machine.ts";
import { METADATA_TOOLS } from "./metadata-tools.ts";
import { MESSAGES, POOLS } from "./pools.ts";
import { ORIGINS } from "./origins.ts";
import { SPACE } from "./space.ts";
import { THINS } from "./thins.ts";

/** Registers a test per case; `withKernel` gives each one a kernel and an empty folder. */
export function thinPoolConformance(
  withKernel: (run: (kernel: ConformanceKernel) => Promise<void>) => Promise<void>,
): void {
  const cases = [
    ...DEVICES,
    ...POOLS,
    ...MESSAGES,
    ...THINS,
    ...ORIGINS,
    ...SPACE,
    ...LOOPS,
    ...METADATA_TOOLS,
  ];
  for (const [name, run] of cases) {
    test(name, () =>
      withKernel(async (kernel) => {
        const bench = new Bench(kernel);
        try {
          await bench.attach();
          await run(bench);
        } finally {
          await bench.tearDown();
        }
      }),
    );
  }
}
