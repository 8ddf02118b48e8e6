/**
 * What the device-mapper does, case by case. The same cases run on the simulated kernel (in the unit
 * tests) and on a real one (in the lab): where the two differ, the simulation is wrong.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ANSWER_TABLES } from "./answer-tables.ts";
import { answerOf } from "./answers.ts";
import { DEVICES, LOOPS } from "./devices.ts";
import { Bench, type ConformanceKernel } from "./machine.ts";
import { METADATA_TOOLS } from "./metadata-tools.ts";
import { MESSAGES, POOLS } from "./pools.ts";
import { ORIGINS } from "./origins.ts";
import { SPACE } from "./space.ts";
import { STATES } from "./states.ts";
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
    ...STATES,
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
  for (const { name, prepare, ask, answers } of ANSWER_TABLES) {
    test(name, (t) =>
      withKernel(async (kernel) => {
        const bench = new Bench(kernel);
        try {
          await bench.attach();
          await prepare(bench);
          for (const [question, answer] of Object.entries(answers)) {
            await t.test(question, async () => {
              assert.equal(await answerOf(() => ask(bench, question)), answer);
            });
          }
        } finally {
          await bench.tearDown();
        }
      }),
    );
  }
}
