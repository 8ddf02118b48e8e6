import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDuration, parseDuration } from "./duration.ts";

test("a duration is a whole number and its unit", () => {
  assert.deepEqual(
    ["30s", "45m", " 8h ", "7d"].map(parseDuration),
    [30_000, 2_700_000, 28_800_000, 604_800_000],
  );
});

test("what is no duration is refused, with an example", () => {
  for (const text of ["", "10", "0s", "-1h", "1.5h", "1w", "1h30m", "99999999s"]) {
    assert.throws(() => parseDuration(text), { code: "USAGE", hint: /30s, 45m, 8h or 7d/ }, text);
  }
});

test("a duration is shown by its two largest units, rounded down", () => {
  assert.deepEqual([0, 999, 1000, 61_000, 3_600_000, 3_659_000, 273_900_000].map(formatDuration), [
    "0s",
    "0s",
    "1s",
    "1m 1s",
    "1h",
    "1h",
    "3d 4h",
  ]);
});
