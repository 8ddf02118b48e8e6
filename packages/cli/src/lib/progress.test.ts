import assert from "node:assert/strict";
import { test } from "node:test";
import { describeProgress } from "./progress.ts";

const MIB = 1n << 20n;

test("with a total: share, rate and the time left", () => {
  const measured = { doneBytes: 256n * MIB, totalBytes: 1024n * MIB, elapsedMs: 4000 };
  assert.equal(describeProgress(measured), "25.0% of 1 GiB, 64 MiB/s, 12s left");
});

test("before the first byte there is no rate, and nothing is foretold", () => {
  const measured = { doneBytes: 0n, totalBytes: MIB, elapsedMs: 0 };
  assert.equal(describeProgress(measured), "0.0% of 1 MiB");
});

test("without a total: what is done, and for how long it runs", () => {
  assert.equal(
    describeProgress({ doneBytes: 10n * MIB, totalBytes: undefined, elapsedMs: 5000 }),
    "10 MiB, 2 MiB/s, running for 5s",
  );
  assert.equal(
    describeProgress({ doneBytes: 0n, totalBytes: undefined, elapsedMs: 65_000 }),
    "running for 1m 5s",
  );
});
