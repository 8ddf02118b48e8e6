import assert from "node:assert/strict";
import { test } from "node:test";
import { ITEMS_PER_TURN, nextTurn, slicesOf } from "./turns.ts";

test("a turn of the event loop has one slice, however many wait; in their order", async () => {
  let turn = 0;
  let counting = true;
  const count = (): void => {
    turn += 1;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  const slices: string[] = [];
  const work = async (name: string): Promise<void> => {
    for (const part of [1, 2, 3]) {
      await nextTurn();
      slices.push(`${turn} ${name}${part}`);
    }
  };
  await Promise.all(["a", "b", "c"].map(work));
  counting = false;
  assert.equal(new Set(slices.map((slice) => slice.split(" ")[0])).size, slices.length);
  const order = slices.map((slice) => slice.split(" ")[1]);
  assert.deepEqual(order, ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]);
});

test("slices are all of a list, in its order, none larger than a turn's", () => {
  const items = Array.from({ length: 2 * ITEMS_PER_TURN + 1 }, (_, index) => index);
  const slices = slicesOf(items);
  assert.deepEqual(slices.flat(), items);
  const lengths = slices.map(({ length }) => length);
  assert.deepEqual(lengths, [ITEMS_PER_TURN, ITEMS_PER_TURN, 1]);
  assert.deepEqual(slicesOf([]), []);
});
