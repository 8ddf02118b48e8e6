import assert from "node:assert/strict";
import { test } from "node:test";
import { MountService } from "./mount-service.ts";
import type { MountServiceParts } from "./mount-service.ts";
import type { MountRecord } from "./record.ts";
import { Records } from "./records.ts";
import type { ReferenceStore } from "./store.ts";
import { TestClock } from "./world.test.support.ts";

const MANY = 1_000;
/** More than any look takes of each; where each is compared with each it is a thousand. */
const LOOKS_PER_RECORD = 8;

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

interface Counted {
  readonly service: MountService;
  /** How often the clocks were read. */
  readonly clockReads: () => number;
  /** How often it was asked of a record whose it is, or which references it has. */
  readonly recordReads: () => number;
}

/** So many references, each to a device of its own. */
function serviceWith(count: number): Counted {
  const clock = new TestClock();
  let clockReads = 0;
  let recordReads = 0;
  const read = (): ReturnType<TestClock["read"]> => {
    clockReads += 1;
    return clock.read();
  };
  const counted = (record: MountRecord): MountRecord =>
    new Proxy(record, {
      get: (target, key) => {
        if (key === "deviceUuid" || key === "references") recordReads += 1;
        return Reflect.get(target, key) as unknown;
      },
    });
  const all = Array.from({ length: count }, (_, index) => counted(mounted(index)));
  const store = { load: () => all };
  const records = new Records(store as unknown as ReferenceStore);
  records.load();
  const parts = {
    records,
    clock: { read },
    sessions: { isAlive: () => true, nextEndMs: () => undefined },
    ephemerals: { due: () => [] },
  } as unknown as MountServiceParts;
  const service = new MountService(parts);
  return { service, clockReads: () => clockReads, recordReads: () => recordReads };
}

test("what goes over all references looks at each a few times, however many there are", () => {
  const { service, recordReads } = serviceWith(MANY);
  for (const look of ["list", "due"] as const) {
    const before = recordReads();
    service[look]();
    const looks = recordReads() - before;
    assert.ok(looks >= MANY && looks <= LOOKS_PER_RECORD * MANY, `${look}: ${looks} looks`);
  }
  const before = recordReads();
  assert.equal(service.get(`reference-${MANY - 1}`)?.device, `device-${MANY - 1}`);
  assert.ok(recordReads() - before <= LOOKS_PER_RECORD, "one is found without the others");
});

test("the clocks are read once for all references", () => {
  const { service, clockReads } = serviceWith(MANY);
  assert.equal(service.list().length, MANY);
  assert.deepEqual(service.due(), []);
  assert.equal(clockReads(), 2);
});
