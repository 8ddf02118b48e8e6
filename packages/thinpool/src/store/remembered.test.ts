import assert from "node:assert/strict";
import { test } from "node:test";
import { transactionId } from "@thinpool/dm-native";
import { MAX_REMEMBERED, Remembered } from "./remembered.ts";

const AT = transactionId(1);

function counted(): {
  readonly db: { version: number | undefined };
  readonly remembered: Remembered<string>;
  readonly reads: string[];
} {
  const db: { version: number | undefined } = { version: 1 };
  const reads: string[] = [];
  const remembered = new Remembered(db, (key, current) => {
    reads.push(key);
    return `${key} at ${current}`;
  });
  return { db, remembered, reads };
}

test("what was read is not read again until something was written, or the pool moved on", () => {
  const { db, remembered, reads } = counted();
  assert.equal(remembered.get("a", AT), "a at 1");
  assert.equal(remembered.get("a", AT), "a at 1");
  assert.deepEqual(reads, ["a"]);
  db.version = 2;
  assert.equal(remembered.get("a", AT), "a at 1");
  assert.equal(remembered.get("a", transactionId(2)), "a at 2");
  assert.equal(remembered.get("a", transactionId(2)), "a at 2");
  assert.deepEqual(reads, ["a", "a", "a"]);
});

test("in the middle of a write nothing is remembered, nor what was before believed", () => {
  const { db, remembered, reads } = counted();
  remembered.get("a", AT);
  db.version = undefined;
  remembered.get("a", AT);
  remembered.get("b", AT);
  // A write that was rolled back is one like any other.
  db.version = 2;
  remembered.get("b", AT);
  assert.deepEqual(reads, ["a", "a", "b", "b"]);
});

test("it does not grow without end", () => {
  const { remembered, reads } = counted();
  for (let index = 0; index <= MAX_REMEMBERED; index += 1) remembered.get(`d${index}`, AT);
  remembered.get(`d${MAX_REMEMBERED}`, AT);
  assert.equal(reads.length, MAX_REMEMBERED + 1);
  remembered.get("d0", AT);
  assert.equal(reads.length, MAX_REMEMBERED + 2);
});
