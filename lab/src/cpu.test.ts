import assert from "node:assert/strict";
import { test } from "node:test";
import { claimCpu, parseCpuList, pinned } from "./cpu.ts";

/** Not the lab's own: a guest may be running. */
const prefix = `\0thinpool-lab-test-${process.pid}-`;

test("each guest has a CPU of its own, as long as there are any", async () => {
  const claim = () => claimCpu([4, 7], prefix);
  const first = await claim();
  const second = await claim();
  assert.deepEqual([first?.cpu, second?.cpu, (await claim())?.cpu], [4, 7, undefined]);
  first?.release();
  const third = await claim();
  assert.equal(third?.cpu, 4);
  second?.release();
  third?.release();
});

test("where there is one CPU only, none is claimed", async () => {
  assert.equal(await claimCpu([0], prefix), undefined);
});

test("the kernel's lists of CPUs", () => {
  assert.deepEqual(parseCpuList("0-2,5"), [0, 1, 2, 5]);
  assert.deepEqual(parseCpuList("3"), [3]);
  assert.deepEqual(parseCpuList(""), []);
});

test("a program is started as it is where it has no CPU of its own", () => {
  assert.deepEqual(pinned(undefined, "linux.uml", ["quiet"]), ["linux.uml", ["quiet"]]);
  assert.deepEqual(pinned(1, "linux.uml", ["quiet"]), [
    "taskset",
    ["--cpu-list", "1", "linux.uml", "quiet"],
  ]);
});
