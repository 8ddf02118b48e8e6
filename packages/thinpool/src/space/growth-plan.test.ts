import assert from "node:assert/strict";
import { test } from "node:test";
import { type GrowthQuestion, growthLimit, planGrowth } from "./growth-plan.ts";

const BASE: GrowthQuestion = {
  totalBytes: 1000n,
  usedBytes: 950n,
  lowWaterBytes: 100n,
  policy: { enabled: true, stepBytes: 200n, ceilingBytes: undefined },
  reachableBytes: 5000n,
  reachableReason: "the host is full",
  granularityBytes: 10n,
};

test("above the low water nothing grows, at it a step", () => {
  assert.deepEqual(planGrowth({ ...BASE, usedBytes: 899n }), { verdict: "enough" });
  assert.deepEqual(planGrowth({ ...BASE, usedBytes: 900n }), { verdict: "grow", toBytes: 1200n });
});

test("the ceiling and the host end it, the last step is a shorter one", () => {
  const ceiling = { ...BASE.policy, ceilingBytes: 1077n };
  assert.deepEqual(planGrowth({ ...BASE, policy: ceiling }), { verdict: "grow", toBytes: 1070n });
  assert.deepEqual(planGrowth({ ...BASE, reachableBytes: 1019n }), {
    verdict: "grow",
    toBytes: 1010n,
  });
  assert.deepEqual(planGrowth({ ...BASE, reachableBytes: 1009n }), {
    verdict: "exhausted",
    reason: "the host is full",
  });
  const low = planGrowth({ ...BASE, policy: { ...BASE.policy, ceilingBytes: 900n } });
  assert.deepEqual(low, { verdict: "exhausted", reason: "the policy's ceiling is 900 bytes" });
});

test("a policy without growth is exhausted once it is low, and its limit is what there is", () => {
  const policy = { ...BASE.policy, enabled: false };
  assert.equal(planGrowth({ ...BASE, policy }).verdict, "exhausted");
  assert.equal(planGrowth({ ...BASE, policy, usedBytes: 0n }).verdict, "enough");
  assert.equal(growthLimit({ ...BASE, policy }).bytes, 1000n);
  assert.equal(growthLimit(BASE).bytes, 5000n);
});
