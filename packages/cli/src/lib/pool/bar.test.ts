import assert from "node:assert/strict";
import { test } from "node:test";
import { bar } from "./bar.ts";

test("the used part is filled, in proportion", () => {
  assert.equal(bar({ used: 50n, total: 100n, width: 10 }), "█████░░░░░");
  assert.equal(bar({ used: 0n, total: 100n, width: 10 }), "░░░░░░░░░░");
  assert.equal(bar({ used: 100n, total: 100n, width: 10 }), "██████████");
});

test("a little shows, and more than all does not burst the bar", () => {
  assert.equal(bar({ used: 1n, total: 1n << 60n, width: 10 }), "█░░░░░░░░░");
  assert.equal(bar({ used: 200n, total: 100n, width: 10 }), "██████████");
});

test("the low-water mark stands where so much is left; beyond the ends it is left out", () => {
  assert.equal(bar({ used: 10n, total: 100n, width: 10, lowWater: 20n }), "█░░░░░░░┊░");
  assert.equal(bar({ used: 10n, total: 100n, width: 10, lowWater: 1n }), "█░░░░░░░░┊");
  assert.equal(bar({ used: 10n, total: 100n, width: 10, lowWater: 100n }), "█░░░░░░░░░");
});

test("without a total or a width there is no bar", () => {
  assert.equal(bar({ used: 0n, total: 0n, width: 10 }), "");
  assert.equal(bar({ used: 1n, total: 2n, width: 0 }), "");
});
