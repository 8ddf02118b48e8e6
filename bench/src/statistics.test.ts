import assert from "node:assert/strict";
import { test } from "node:test";
import { median, seeded, shuffled, summarize } from "./statistics.ts";

test("medians and quartiles lie between the samples, whatever their order", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.deepEqual(summarize([50, 10, 30, 20, 40]), {
    runs: 5,
    median: 30,
    low: 20,
    high: 40,
    least: 10,
    most: 50,
  });
  assert.throws(() => median([]), RangeError);
});

test("a seed gives the same order again, another seed another", () => {
  const values = Array.from({ length: 50 }, (_, index) => index);
  const order = (seed: number): number[] => shuffled(values, seeded(seed));
  assert.deepEqual(order(7), order(7));
  assert.notDeepEqual(order(7), order(8));
  assert.deepEqual(
    order(7).toSorted((a, b) => a - b),
    values,
  );
});
