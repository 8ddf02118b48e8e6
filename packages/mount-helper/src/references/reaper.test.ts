import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setImmediate, setTimeout } from "node:timers/promises";
import { MAX_TENDED_AT_ONCE, Reaper } from "./reaper.ts";
import { World, removeFolders, self } from "./world.test.support.ts";

/** Between two changes: some ten in a second are few. */
const BETWEEN_CHANGES_MS = 80;
const PATIENCE_MS = 3_000;

after(removeFolders);

test("a device that is stuck, and changes all the time, do not keep others' leases from ending", async () => {
  const world = await World.begin();
  const { mounts, sessions } = world.references;
  const { promise: stuck, resolve: goOn } = Promise.withResolvers<undefined>();
  const reaper = new Reaper({
    service: mounts,
    sessions,
    inTurn: async (device, task) => {
      if (device === "one") await stuck;
      await task();
    },
    logger: { log: () => undefined },
  });
  const lease = (ttlMs: number) => ({ holder: { type: "lease", ttlMs } }) as const;
  await world.mount(lease(1_000));
  const later = await world.mount(lease(10_000), "two");
  world.clock.advance(2_000);
  reaper.start();
  await setTimeout(BETWEEN_CHANGES_MS);
  // As each mount, each renewal and each end of a connection has it.
  const changing = setInterval(() => reaper.schedule(), BETWEEN_CHANGES_MS);
  world.clock.advance(10_000);
  const deadline = performance.now() + PATIENCE_MS;
  const isHeld = (): boolean => world.held().includes(later.reference);
  while (isHeld() && performance.now() < deadline) await setTimeout(BETWEEN_CHANGES_MS);
  clearInterval(changing);
  assert.equal(isHeld(), false, "its lease has ended long ago");
  // Nor the daemon from ending.
  await reaper.stop();
  goOn(undefined);
  await setImmediate();
  assert.deepEqual(
    mounts.list().map(({ device }) => device),
    ["one"],
    "nothing more is begun",
  );
  await world.drive();
  await world.end();
});

test("devices whose turns are others' for long, however many, keep no lease of another's from ending", async () => {
  const world = await World.begin();
  const { mounts, sessions } = world.references;
  const { promise: busy, resolve: goOn } = Promise.withResolvers<undefined>();
  let tending = 0;
  let most = 0;
  const reaper = new Reaper({
    service: {
      due: () => mounts.due(),
      nextDueMs: () => mounts.nextDueMs(),
      tend: async (name) => {
        tending += 1;
        most = Math.max(most, tending);
        await mounts.tend(name);
        tending -= 1;
      },
    },
    sessions,
    inTurn: async (device, task) => {
      if (device !== "two") await busy;
      await task();
    },
    logger: { log: () => undefined },
  });
  const lease = { holder: { type: "lease", ttlMs: 1_000 } } as const;
  const names = Array.from({ length: 2 * MAX_TENDED_AT_ONCE }, (_, index) => `a${index}`);
  for (const name of names) {
    await world.pool.createDevice({ name, sizeBytes: 16n << 20n, ownerUid: self().uid });
    await world.mount(lease, name);
  }
  await world.mount(lease, "two");
  world.clock.advance(2_000);
  reaper.start();
  const deadline = performance.now() + PATIENCE_MS;
  const holds = (name: string): boolean => mounts.list().some(({ device }) => device === name);
  while (holds("two") && performance.now() < deadline) await setTimeout(BETWEEN_CHANGES_MS);
  assert.equal(holds("two"), false, "its lease has ended long ago");
  assert.equal(mounts.list().length, names.length);
  await reaper.stop();
  reaper.start();
  goOn(undefined);
  while (mounts.list().length > 0 && performance.now() < deadline) await setTimeout(10);
  assert.deepEqual(mounts.list(), []);
  assert.ok(most <= MAX_TENDED_AT_ONCE, `${most} were tended at once`);
  await reaper.stop();
  await world.end();
});
