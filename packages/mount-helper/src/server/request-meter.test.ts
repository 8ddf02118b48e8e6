import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestMeter } from "./request-meter.ts";

test("one second's worth at once, then as many as the time gives", () => {
  const meter = new RequestMeter();
  const taken = (count: number, nowMs: number): number =>
    Array.from({ length: count }, () => meter.take(10, nowMs)).filter(Boolean).length;
  assert.equal(taken(100, 5_000), 10);
  assert.equal(taken(100, 5_000), 0);
  assert.equal(taken(100, 5_100), 1);
  assert.equal(taken(100, 5_600), 5);
  assert.equal(taken(100, 60_000), 10);
});

test("over ten seconds a flood gets no more than the rate and one burst", () => {
  const meter = new RequestMeter();
  let served = 0;
  for (let ms = 0; ms < 10_000; ms += 1) if (meter.take(50, ms)) served += 1;
  assert.ok(served >= 500 && served <= 551, String(served));
});
