import assert from "node:assert/strict";
import { test } from "node:test";
import { within } from "./wait.ts";

const CONTEXT = { operation: "test", object: "a promise" };

test("a limit longer than a timer knows is no limit, not none of it", async () => {
  for (const timeoutMs of [2_147_483_648, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) {
    const answer = new Promise((resolve) => setTimeout(() => resolve("answer"), 30));
    assert.equal(await within(answer, { timeoutMs }, CONTEXT), "answer");
  }
});
