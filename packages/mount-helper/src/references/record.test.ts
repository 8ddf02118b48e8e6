import assert from "node:assert/strict";
import { test } from "node:test";
import type { Reference } from "./holder.ts";
import type { MountRecord, NewMount, Observed } from "./record.ts";
import { acquire, confirm, end, refused, release, settle, unmounted, withdraw } from "./record.ts";

const FRESH: NewMount = {
  id: "m1",
  deviceUuid: "u",
  deviceName: "one",
  owner: { uid: 1000, gid: 1000 },
  dmUuid: "THINPOOL-p-u",
  place: "own",
  namespace: undefined,
  target: "/m/1000/one",
  form: { readOnly: false, noExec: false, noSymFollow: false, ownership: "mapped" },
  lazyAfterMs: undefined,
  bootId: "b1",
};

function reference(id: string): Reference {
  return { id, holderUid: 1000, holder: { type: "permanent" }, createdAtMs: 1 };
}

function mounted(): MountRecord {
  const { record } = acquire(undefined, reference("r1"), FRESH);
  return confirm(record, { mountId: 5, dev: "253:7", bootId: "b1" });
}

function observed(mountId: number, dev: string, activeDev: string | undefined): Observed {
  return { bootId: "b1", activeDev, mounts: [{ mountId, dev, mountPoint: FRESH.target }] };
}

test("a mount that is not provably the record's is left alone", () => {
  const stepFor = (...seen: Parameters<typeof observed>): string =>
    settle(mounted(), observed(...seen)).step;
  assert.equal(stepFor(5, "253:7", "253:7"), "keep");
  assert.equal(stepFor(6, "253:7", "253:7"), "deactivate");
  assert.equal(stepFor(5, "253:8", "253:7"), "deactivate");
  assert.equal(stepFor(5, "253:8", "253:8"), "deactivate");
  assert.equal(stepFor(5, "253:7", undefined), "deactivate");
});

test("a mount is known by its id wherever its folder was moved, and by its place until then", () => {
  const moved = { ...observed(5, "253:7", "253:7") };
  const mounts = [{ mountId: 5, dev: "253:7", mountPoint: "/elsewhere" }];
  assert.equal(settle(mounted(), { ...moved, mounts }).step, "keep");
  const { record: half } = acquire(undefined, reference("r1"), FRESH);
  assert.equal(settle(half, { ...moved, mounts }).step, "deactivate");
  const found = settle(half, observed(9, "253:7", "253:7"));
  assert.deepEqual(found, { step: "unmount", mountId: 9, dev: "253:7" });
  // The same device at the same place, but it is another record's.
  assert.equal(settle(half, observed(9, "253:7", "253:7"), new Set([9])).step, "deactivate");
});

test("after a reboot what is held is mounted again, and nothing else", () => {
  const after: Observed = { ...observed(5, "253:7", "253:7"), bootId: "b2" };
  const settled = settle(mounted(), after);
  assert.equal(settled.step, "remount");
  assert.ok(settled.step === "remount");
  const { state, mountId, dev, bootId } = settled.record;
  assert.deepEqual([state, mountId, dev, bootId], ["absent", undefined, undefined, "b2"]);
  // Mounted, but the daemon died before it wrote that down.
  assert.equal(settle(settled.record, after).step, "adopt");
  assert.equal(settle(settled.record, { ...after, mounts: [] }).step, "remount");
  const { record: half } = acquire(undefined, reference("r1"), FRESH);
  assert.equal(settle(half, after).step, "deactivate");
  assert.equal(settle(end(mounted(), new Set(["r1"])).record, after).step, "deactivate");
});

test("a refused unmount goes back to where it was: held, or releasing", () => {
  const { record } = release(mounted(), "r1");
  assert.equal(record.state, "unmounting");
  assert.deepEqual(refused(record), mounted());
  const over = end(mounted(), new Set(["r1"]));
  assert.equal(over.step, "release");
  assert.equal(over.record.state, "releasing");
  assert.deepEqual(refused(withdraw(over.record)), over.record);
  const shared = acquire(over.record, reference("r2"), FRESH).record;
  assert.deepEqual([shared.state, shared.references.length], ["mounted", 1]);
});

test("an unmounted one has no holder; only its device is left to be seen to", () => {
  const { record } = release(mounted(), "r1");
  const left = unmounted(record);
  assert.deepEqual([left.state, left.references, left.mountId], ["deactivating", [], undefined]);
  assert.equal(settle(left, observed(5, "253:7", "253:7")).step, "deactivate");
});

test("the end of some references keeps the others", () => {
  const shared = acquire(mounted(), reference("r2"), FRESH).record;
  const over = end(shared, new Set(["r1", "unknown"]));
  assert.equal(over.step, "keep");
  assert.deepEqual(over.record, { ...mounted(), references: [reference("r2")] });
});

test("steps out of order are programming errors", () => {
  const record = mounted();
  const made = { mountId: 1, dev: "1:1", bootId: "b1" };
  assert.throws(() => confirm(record, made), /is mounted, not mounting or absent/);
  assert.throws(() => release(record, "r2"), /not held/);
  assert.throws(() => acquire(record, reference("r1"), FRESH), /held already/);
  assert.throws(() => refused(record), /not unmounting/);
  assert.throws(() => withdraw(record), /not releasing/);
  const { record: half } = acquire(undefined, reference("r1"), FRESH);
  assert.throws(() => acquire(half, reference("r2"), FRESH), /is mounting, not mounted/);
});
