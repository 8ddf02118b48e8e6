import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Reaper } from "./reaper.ts";
import { World, removeFolders } from "./world.test.support.ts";

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
  goOn(undefined);
  await reaper.stop();
  await world.drive();
  await world.end();
});
