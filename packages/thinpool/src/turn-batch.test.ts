import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { MAX_BATCH, TurnBatch } from "./turn-batch.ts";

test("what comes within a few turns of the event loop is one commit, in its order", async () => {
  const commits: string[][] = [];
  const batch = new TurnBatch<string>((items) => void commits.push([...items]));
  const first = batch.add("a");
  await setImmediate();
  const others = [batch.add("b"), batch.add("c")];
  await setImmediate();
  others.push(batch.add("d"));
  assert.deepEqual(commits, []);
  await Promise.all([first, ...others]);
  assert.deepEqual(commits, [["a", "b", "c", "d"]]);
  await batch.add("later");
  assert.deepEqual(commits[1], ["later"]);
});

test("who is alone waits for nobody", async () => {
  const commits: string[][] = [];
  let coming = 1;
  const batch = new TurnBatch<string>(
    (items) => void commits.push([...items]),
    () => coming,
  );
  let turns = 0;
  const turn = setImmediate().then(() => (turns += 1));
  await batch.add("alone");
  assert.equal(turns, 0);
  await turn;
  coming = 3;
  const some = [batch.add("a"), batch.add("b")];
  await setImmediate();
  assert.equal(commits.length, 1, "one of three is still to come");
  some.push(batch.add("c"));
  await Promise.all(some);
  assert.deepEqual(commits, [["alone"], ["a", "b", "c"]]);
});

test("a batch has a largest size, and does not wait for more then", async () => {
  const commits: number[] = [];
  const batch = new TurnBatch<number>((items) => void commits.push(items.length));
  const all = Array.from({ length: 2 * MAX_BATCH + 1 }, (_, item) => batch.add(item));
  await Promise.all(all);
  assert.deepEqual(commits, [MAX_BATCH, MAX_BATCH, 1]);
  commits.length = 0;
  const more = all.map((_, item) => batch.add(item)).slice(0, MAX_BATCH);
  for (let turn = 0; turn < 3; turn += 1) {
    await setImmediate();
    more.push(batch.add(turn));
  }
  assert.ok(commits.length > 0, "while every turn brings another");
  await Promise.all(more);
});

test("a commit that fails fails for all of its batch, and for no other", async () => {
  const batch = new TurnBatch<string>((items) => {
    if (items.includes("bad")) throw new Error("full");
  });
  const results = await Promise.allSettled(["good", "bad"].map((item) => batch.add(item)));
  assert.deepEqual(
    results.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  await batch.add("good");
});
