import assert from "node:assert/strict";
import { test } from "node:test";
import { devNumberOf, stDevOf } from "./dev-number.ts";

test("major and minor are taken out of st_dev", () => {
  assert.deepEqual(devNumberOf(0x0803n), { major: 8, minor: 3 });
  // A minor above 255 has its upper bits above the major's twelve.
  assert.deepEqual(devNumberOf(0x1000_07ffn), { major: 7, minor: 0x100ff });
  assert.deepEqual(devNumberOf((1n << 44n) | 0x101n), { major: 0x1001, minor: 1 });
});

test("and put back", () => {
  for (const dev of [0x0803n, 0x1000_07ffn, (1n << 44n) | 0x101n]) {
    assert.equal(stDevOf(devNumberOf(dev)), dev);
  }
});
