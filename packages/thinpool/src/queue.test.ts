import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_QUEUED_OPERATIONS, SerialQueue } from "./queue.ts";

test("runs one after another, in order, whether the ones before fail or not", async () => {
  const queue = new SerialQueue();
  const seen: string[] = [];
  const step = (name: string, fails: boolean) => async (): Promise<string> => {
    seen.push(`${name} begins`);
    await Promise.resolve();
    seen.push(`${name} ends`);
    if (fails) throw new Error(name);
    return name;
  };
  const results = await Promise.allSettled([
    queue.run("op", step("a", false)),
    queue.run("op", step("b", true)),
    queue.run("op", step("c", false)),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(seen, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  assert.equal(queue.length, 0);
});

test("a full queue answers at once, and takes more when it has emptied", async () => {
  const queue = new SerialQueue();
  const gate = Promise.withResolvers<void>();
  const waiting = Array.from({ length: MAX_QUEUED_OPERATIONS }, () =>
    queue.run("op", () => gate.promise),
  );
  await assert.rejects(
    queue.run("op", () => Promise.resolve()),
    { code: "POOL_OVERLOADED" },
  );
  gate.resolve();
  await Promise.all(waiting);
  await queue.run("op", () => Promise.resolve());
});
