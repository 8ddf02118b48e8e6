import assert from "node:assert/strict";
import { test } from "node:test";
import { MountService } from "./mount-service.ts";
import type { MountServiceParts } from "./mount-service.ts";
import type { MountRecord } from "./record.ts";
import { Records } from "./records.ts";
import type { ReferenceStore } from "./store.ts";
import { TestClock } from "./world.test.support.ts";

const FEW = 1_000;
const TIMES_AS_MANY = 8;
const ROUNDS = 40;

function mounted(index: number): MountRecord {
  return {
    id: `record-${index}`,
    deviceUuid: `device-${index}`,
    deviceName: `device-${index}`,
    owner: { uid: 1000, gid: 1000 },
    dmUuid: `dm-${index}`,
    place: "own",
    target: `/mounts/${index}`,
    namespace: undefined,
    form: { readOnly: false, noExec: false, noSymFollow: false, ownership: "mapped" },
    lazyAfterMs: undefined,
    state: "mounted",
    mountId: index + 1,
    dev: `253:${index}`,
    bootId: "boot-1",
    references: [
      {
        id: `reference-${index}`,
        holderUid: 1000,
        holder: { type: "session", session: "s" },
        createdAtMs: 0,
      },
    ],
  };
}

/** So many references, each to a device of its own. */
function serviceWith(count: number): { service: MountService; looks: () => number } {
  const clock = new TestClock();
  let looks = 0;
  const read = (): ReturnType<TestClock["read"]> => {
    looks += 1;
    return clock.read();
  };
  const store = { load: () => Array.from({ length: count }, (_, index) => mounted(index)) };
  const records = new Records(store as unknown as ReferenceStore);
  records.load();
  const parts = {
    records,
    clock: { read },
    sessions: { isAlive: () => true, nextEndMs: () => undefined },
    ephemerals: { due: () => [] },
  } as unknown as MountServiceParts;
  return { service: new MountService(parts), looks: () => looks };
}

/** Of several, the one that others held up least. */
function shortestMs(work: () => unknown): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const begun = performance.now();
    work();
    return performance.now() - begun;
  });
  return Math.min(...times);
}

test("what goes over all references takes as much of each, however many there are", () => {
  const few = serviceWith(FEW).service;
  const many = serviceWith(FEW * TIMES_AS_MANY).service;
  const looks = ["list", "due"] as const;
  for (const look of looks) {
    const ask = (service: MountService) => () => service[look]();
    const ratio = shortestMs(ask(many)) / shortestMs(ask(few));
    // In proportion: 8 times; each compared with each: 64 times.
    assert.ok(ratio < 3 * TIMES_AS_MANY, `${look}: ${ratio} times as long`);
  }
});

test("the clocks are read once for all references", () => {
  const { service, looks } = serviceWith(FEW);
  assert.equal(service.list().length, FEW);
  assert.deepEqual(service.due(), []);
  assert.equal(looks(), 2);
});
