import assert from "node:assert/strict";
import { test } from "node:test";
import type { MountRecord, NewMount, Observed, Reference } from "./record.ts";
import { abandon, acquire, confirm, release, revert, settle } from "./record.ts";

const FRESH: NewMount = {
  deviceUuid: "u",
  deviceName: "one",
  ownerUid: 1000,
  target: "/m/1000/one",
  dmUuid: "THINPOOL-p-u",
};
const SEEDS = 300;
const STEPS = 60;

/** mulberry32: small, seeded, good enough to pick steps. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function holder(id: number): Reference {
  return { id: `r${id}`, holderUid: id % 3, createdAtMs: id };
}

/** A kernel with one device, and the record as a crash would find it on disk. */
class Model {
  record: MountRecord | undefined;
  mounted: { mountId: number } | undefined;
  active = false;
  readonly held = new Set<string>();
  #nextMount = 1;
  #nextReference = 1;

  observed(): Observed {
    const mounts = [{ mountId: 900, dev: "8:1", mountPoint: "/" }];
    if (this.mounted !== undefined) {
      mounts.push({ mountId: this.mounted.mountId, dev: "253:7", mountPoint: FRESH.target });
    }
    return { activeDev: this.active ? "253:7" : undefined, mounts };
  }

  /** `crashAt`: how many of the steps of the operation happen before the process dies. */
  acquire(crashAt: number): void {
    const reference = holder(this.#nextReference);
    this.#nextReference += 1;
    const acquired = acquire(this.record, reference, FRESH);
    const steps = [(): void => void (this.record = acquired.record)];
    if (acquired.step === "mount") {
      steps.push(
        () => void (this.active = true),
        () => void (this.mounted = { mountId: this.#nextMount++ }),
        () => {
          const mountId = this.mounted?.mountId ?? assert.fail();
          this.record = confirm(acquired.record, { mountId, dev: "253:7" });
        },
      );
    }
    // The caller is told of its reference only at the end; on disk it may stand earlier.
    steps.slice(0, crashAt).forEach((step) => step());
    if (this.record?.state === "mounted" && this.record.references.includes(reference)) {
      this.held.add(reference.id);
    }
  }

  release(id: string, crashAt: number): void {
    const released = release(this.record ?? assert.fail(), id);
    const steps = [
      (): void => {
        this.record = released.record;
        this.held.delete(id);
      },
    ];
    if (released.step === "unmount") {
      steps.push(
        () => void (this.mounted = undefined),
        () => void (this.active = false),
        () => void (this.record = undefined),
      );
    }
    steps.slice(0, crashAt).forEach((step) => step());
  }

  restart(): void {
    if (this.record === undefined) return;
    const settlement = settle(this.record, this.observed());
    if (settlement.step === "keep") return;
    if (settlement.step === "unmount") {
      assert.equal(settlement.mountId, this.mounted?.mountId);
      this.mounted = undefined;
    }
    this.active = false;
    this.record = undefined;
  }

  check(): void {
    assert.equal(this.record !== undefined, this.mounted !== undefined, "a record iff a mount");
    assert.equal(this.active, this.mounted !== undefined, "active iff mounted");
    const references = this.record?.references.map(({ id }) => id) ?? [];
    assert.deepEqual(new Set(references), this.held, "its holders are those who were told so");
    if (this.record !== undefined) {
      assert.ok(references.length > 0);
      assert.deepEqual([this.record.state, this.record.dev], ["mounted", "253:7"]);
      assert.equal(this.record.mountId, this.mounted?.mountId);
    }
  }
}

test(`any run of acquire, release and crash leaves it mounted with its holders, or not (${SEEDS} seeds)`, () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const pick = generator(seed);
    const model = new Model();
    try {
      for (let step = 0; step < STEPS; step += 1) {
        const crashAt = pick(4) === 0 ? pick(5) : Infinity;
        const held = Array.from(model.held);
        const id = held[pick(Math.max(held.length, 1))];
        if (id === undefined || pick(2) === 0) model.acquire(crashAt);
        else model.release(id, crashAt);
        if (crashAt !== Infinity) model.restart();
        model.check();
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

function mountedRecord(): MountRecord {
  const { record } = acquire(undefined, holder(1), FRESH);
  return confirm(record, { mountId: 5, dev: "253:7" });
}

test("a mount that is not provably the record's is left alone", () => {
  const record = mountedRecord();
  const at = (mountId: number, dev: string, activeDev: string | undefined): string =>
    settle(record, { activeDev, mounts: [{ mountId, dev, mountPoint: FRESH.target }] }).step;
  assert.equal(at(5, "253:7", "253:7"), "keep");
  assert.equal(at(6, "253:7", "253:7"), "forget");
  assert.equal(at(5, "253:8", "253:7"), "forget");
  assert.equal(at(5, "253:8", "253:8"), "forget");
  assert.equal(at(5, "253:7", undefined), "forget");
});

test("a refused unmount goes back to mounted with its holders; an abandoned one has none", () => {
  const { record } = release(mountedRecord(), "r1");
  assert.equal(record.state, "unmounting");
  assert.deepEqual(revert(record), mountedRecord());
  assert.deepEqual(abandon(record).references, []);
  assert.equal(settle(abandon(record), { activeDev: "253:7", mounts: [] }).step, "forget");
});

test("steps out of order are programming errors", () => {
  const record = mountedRecord();
  assert.throws(() => confirm(record, { mountId: 1, dev: "1:1" }), /is mounted, not mounting/);
  assert.throws(() => release(record, "r2"), /not held/);
  assert.throws(() => acquire(record, holder(1), FRESH), /held already/);
  assert.throws(() => revert(record), /not unmounting/);
  const { record: half } = acquire(undefined, holder(1), FRESH);
  assert.throws(() => acquire(half, holder(2), FRESH), /is mounting, not mounted/);
});
