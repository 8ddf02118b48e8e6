import assert from "node:assert/strict";
import { test } from "node:test";
import { roundsOf } from "./rounds.ts";

const PLAN = { quick: 5, full: 10, quickSeconds: 1 };

/** How many rounds of so many milliseconds each are made. */
function made(
  options: { readonly quick: boolean; readonly scale: number },
  roundMs: number,
): number {
  let now = 0;
  let count = 0;
  for (const round of roundsOf(options, () => now)(PLAN)) {
    assert.equal(round, count);
    count += 1;
    now += roundMs;
  }
  return count;
}

test("the number that was asked for, or as many as the time allows, but two at least", () => {
  assert.equal(made({ quick: true, scale: 1 }, 1), 5);
  assert.equal(made({ quick: false, scale: 1 }, 1), 10);
  assert.equal(made({ quick: false, scale: 0.2 }, 1), 2);
  assert.equal(made({ quick: true, scale: 0.01 }, 1), 1);
  assert.equal(made({ quick: true, scale: 1 }, 260), 4);
  assert.equal(made({ quick: true, scale: 1 }, 10_000), 2);
  assert.equal(made({ quick: false, scale: 1 }, 600), 5, "a full run has three times the time");
});
