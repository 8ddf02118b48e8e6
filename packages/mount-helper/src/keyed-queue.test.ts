import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "./errors.ts";
import { KeyedQueue, MAX_WAITING_PER_KEY } from "./keyed-queue.ts";

test("one key in turn, failures included; another key does not wait; a user's line has an end", async () => {
  const queue = new KeyedQueue();
  const order: string[] = [];
  const gate = Promise.withResolvers<undefined>();
  const first = queue.run("a", "op", async () => {
    await gate.promise;
    order.push("a1");
    throw new Error("fails");
  });
  const second = queue.run("a", "op", () => Promise.resolve(order.push("a2")));
  await queue.run("b", "op", () => Promise.resolve(order.push("b1")));
  const rest = Array.from({ length: MAX_WAITING_PER_KEY }, () =>
    queue.run("a", "op", () => Promise.resolve(), 1000),
  );
  await assert.rejects(
    queue.run("a", "op", () => Promise.resolve(), 1000),
    (error) => error instanceof RequestError && error.code === "LIMIT",
  );
  const others = queue.run("a", "op", () => Promise.resolve(order.push("others")), 1001);
  gate.resolve(undefined);
  await assert.rejects(first, /fails/);
  await Promise.all([second, ...rest, others]);
  await queue.run("a", "op", () => Promise.resolve(), 1000);
  assert.deepEqual(order, ["b1", "a1", "a2", "others"]);
});
