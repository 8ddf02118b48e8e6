import assert from "node:assert/strict";
import { test } from "node:test";
import { outdated } from "./retention.ts";

const named = (...dates: readonly string[]) => dates.map((date) => ({ name: `of-${date}`, date }));

/** November 2026: the 2nd, 9th, 16th and 23rd are Mondays. */
const november = named(
  ...Array.from({ length: 25 }, (_, index) => `2026-11-${String(index + 1).padStart(2, "0")}`),
);
const kept = (daily: number, weekly: number): readonly string[] => {
  const gone = new Set(outdated(november, { daily, weekly }));
  return november.filter(({ name }) => !gone.has(name)).map(({ date }) => date.slice(-2));
};

test("the last days, and the last of each of the last weeks", () => {
  assert.deepEqual(kept(3, 0), ["23", "24", "25"]);
  assert.deepEqual(kept(0, 3), ["15", "22", "25"]);
  assert.deepEqual(kept(3, 4), ["08", "15", "22", "23", "24", "25"]);
  assert.equal(kept(100, 0).length, november.length);
  assert.deepEqual(kept(0, 0), []);
});

test("nights that were missed do not count: it is never time alone that removes", () => {
  const sparse = named("2025-01-01", "2025-06-01", "2026-11-25");
  assert.deepEqual(outdated(sparse, { daily: 2, weekly: 0 }), ["of-2025-01-01"]);
  assert.deepEqual(outdated(sparse, { daily: 0, weekly: 3 }), []);
});

test("a week runs over the turn of the year", () => {
  const turn = named("2026-12-27", "2026-12-28", "2026-12-31", "2027-01-03", "2027-01-04");
  const gone = outdated(turn, { daily: 0, weekly: 3 });
  assert.deepEqual(gone, ["of-2026-12-28", "of-2026-12-31"]);
});

test("the order they come in does not matter; of one day one is kept", () => {
  const shuffled = [
    { name: "b", date: "2026-11-02" },
    { name: "c", date: "2026-11-03" },
    { name: "a", date: "2026-11-01" },
  ];
  assert.deepEqual(outdated(shuffled, { daily: 1, weekly: 0 }), ["a", "b"]);
  const twice = named("2026-11-03", "2026-11-03");
  assert.equal(outdated(twice, { daily: 5, weekly: 5 }).length, 1);
});

test("what is no date is refused before anything is chosen", () => {
  assert.throws(() => outdated(named("yesterday"), { daily: 1, weekly: 1 }), RangeError);
});
