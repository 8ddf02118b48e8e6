import assert from "node:assert/strict";
import { test } from "node:test";
import {
  growthPerSecond,
  MAX_SAMPLES,
  secondsUntil,
  UseHistory,
  type UseSample,
} from "./forecast.ts";

const MIB = 1 << 20;

/** A sample every 10 s. */
function samples(count: number, usedMib: (index: number) => number): readonly UseSample[] {
  return Array.from({ length: count }, (_, index) => ({
    atMs: index * 10_000,
    usedBytes: BigInt(Math.round(usedMib(index) * MIB)),
  }));
}

/** The same on every run: a linear congruential generator between -1 and 1. */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function near(actual: number | undefined, expected: number): void {
  assert.ok(actual !== undefined && Math.abs(actual - expected) < expected * 0.1, `${actual}`);
}

test("a steady rise is found, also in noise of its own size and with outliers", () => {
  near(growthPerSecond(samples(30, (index) => 100 + index)), MIB / 10);
  const random = noise(1);
  near(growthPerSecond(samples(200, (index) => 1000 + index + 5 * random())), MIB / 10);
  const spiked = samples(60, (index) => 100 + index + (index % 10 === 3 ? 500 : 0));
  near(growthPerSecond(spiked), MIB / 10);
});

test("what does not grow has no forecast", () => {
  assert.equal(growthPerSecond(samples(60, () => 500)), undefined);
  assert.equal(growthPerSecond(samples(60, (index) => 500 - index)), undefined);
  // One file copied long ago.
  assert.equal(growthPerSecond(samples(60, (index) => (index < 20 ? 100 : 700))), undefined);
  // A pool of jobs: clones come and go.
  assert.equal(growthPerSecond(samples(120, (index) => 500 + (index % 12) * 40)), undefined);
  for (let seed = 1; seed <= 50; seed += 1) {
    const random = noise(seed);
    assert.equal(growthPerSecond(samples(60, () => 500 + 20 * random())), undefined, `${seed}`);
  }
});

test("too little says nothing", () => {
  assert.equal(growthPerSecond([]), undefined);
  assert.equal(growthPerSecond(samples(5, (index) => index)), undefined);
  const burst = samples(20, (index) => index).map((sample) => ({
    ...sample,
    atMs: sample.atMs / 100,
  }));
  assert.equal(growthPerSecond(burst), undefined);
});

test("the time left, and a bounded memory", () => {
  assert.equal(secondsUntil(1000n, 10), 100);
  assert.equal(secondsUntil(0n, 10), 0);
  assert.equal(secondsUntil(-5n, 10), 0);
  assert.equal(secondsUntil(1000n, undefined), undefined);
  assert.equal(secondsUntil(0n, undefined), 0, "it stands still because it is full");
  const history = new UseHistory();
  // Only the last are kept: of those the use stands still.
  for (const sample of samples(100, (index) => index)) history.add(sample);
  for (let index = 0; index < MAX_SAMPLES; index += 1) {
    history.add({ atMs: 1_000_000 + index * 10_000, usedBytes: 7n });
  }
  assert.equal(history.growthPerSecond(), undefined);
});
