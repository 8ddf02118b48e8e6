import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangeWatch } from "./changes.ts";

/** Of boundaries such as "before DM_DEV_REMOVE", those at which the machine may differ from before. */
function differing(...boundaries: readonly string[]): readonly string[] {
  const watch = new ChangeWatch();
  return boundaries.filter((boundary) => {
    const [phase, operation = ""] = boundary.split(" ");
    assert.ok(phase === "before" || phase === "after");
    return watch.mayDiffer({ phase, operation });
  });
}

test("one call after the other: the first boundary, and after what may change something", () => {
  assert.deepEqual(
    differing(
      "before LOOP_LIST",
      "after LOOP_LIST",
      "before DM_TABLE_STATUS",
      "after DM_TABLE_STATUS",
      "before DM_LIST_DEVICES",
      "after DM_LIST_DEVICES",
      "before DM_DEV_CREATE",
      "after DM_DEV_CREATE",
    ),
    ["before LOOP_LIST", "after DM_TABLE_STATUS", "after DM_DEV_CREATE"],
  );
});

test("a call that has begun may have had its effect at each boundary up to its end", () => {
  assert.deepEqual(
    differing(
      "before DM_DEV_CREATE",
      "before LOOP_LIST",
      "after DM_DEV_CREATE",
      "after LOOP_LIST",
      "before DM_DEV_CREATE",
    ),
    ["before DM_DEV_CREATE", "before LOOP_LIST", "after DM_DEV_CREATE"],
  );
});

test("a call that was refused counts as one that has not ended", () => {
  assert.deepEqual(
    differing("before DM_DEV_REMOVE", "before LOOP_LIST", "after LOOP_LIST", "after a file call"),
    ["before DM_DEV_REMOVE", "before LOOP_LIST", "after LOOP_LIST", "after a file call"],
  );
});
