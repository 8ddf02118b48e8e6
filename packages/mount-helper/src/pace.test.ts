import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Pace, REQUESTS_PER_TURN } from "./pace.ts";

/** Counts the turns of the event loop until it is disposed of. */
class Turns implements Disposable {
  now = 0;
  #counting = true;
  readonly #count = (): void => {
    this.now += 1;
    if (this.#counting) setImmediate(this.#count);
  };

  constructor() {
    setImmediate(this.#count);
  }

  [Symbol.dispose](): void {
    this.#counting = false;
  }
}

test("a turn has so many requests, the first of them at once, in the order in which they came", async () => {
  using turns = new Turns();
  const pace = new Pace();
  const begun: number[] = [];
  const perTurn = new Map<number, number>();
  const count = 5 * REQUESTS_PER_TURN + 1;
  const request = async (number: number): Promise<void> => {
    await pace.enter();
    begun.push(number);
    perTurn.set(turns.now, (perTurn.get(turns.now) ?? 0) + 1);
  };
  const all = Array.from({ length: count }, (_, number) => number);
  const done = Promise.all(all.map(request));
  await Promise.resolve();
  assert.equal(begun.length, REQUESTS_PER_TURN);
  await done;
  assert.deepEqual(begun, all);
  assert.ok(Math.max(...perTurn.values()) <= REQUESTS_PER_TURN, [...perTurn.values()].join());
  assert.ok(perTurn.size >= count / REQUESTS_PER_TURN);
});

test("what is put off runs in no turn in which it was asked for", async () => {
  using turns = new Turns();
  const pace = new Pace();
  await setTimeout(1);
  const asked = turns.now;
  const later = pace.later();
  assert.notEqual(pace.enter(), undefined, "who comes after it does not overtake it");
  await later;
  assert.ok(turns.now > asked);
  await setTimeout(1);
  assert.equal(pace.enter(), undefined, "nobody waits any more");
});
