/**
 * The process dies, or the machine, right before or after every kernel call of every operation, and
 * again at every call of the recovery; then the pool is opened and checked (docs/INVARIANTS.md).
 *
 * A dead process writes nothing, but the code under test still runs its roll-back: so the pool's
 * folder is copied at the moment of death and put back before the next open.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  check,
  dieAt,
  emptyWorld,
  MAX_POINTS,
  OPERATIONS,
  prepare,
  removeFolders,
  revive,
  SIZES,
} from "./crash-world.test.support.ts";
import { createPool } from "./create-pool.ts";
import { openPool } from "./open-pool.ts";
import type { ThinPool } from "./pool.ts";

after(removeFolders);

for (const operation of OPERATIONS) {
  for (const death of ["process", "machine"] as const) {
    test(`${operation.name}: the ${death} dies at every boundary`, async (t) => {
      let point = 0;
      for (; point < MAX_POINTS; point += 1) {
        const { world, pool } = await prepare();
        const died = await dieAt(world, point, () => operation.run(pool));
        if (!died) break;
        await pool.detach();
        revive(world, death);
        await check(world, operation);
      }
      assert.ok(point > 0 && point < MAX_POINTS);
      t.diagnostic(`${point} boundaries`);
    });
  }

  test(`${operation.name}: and again at every boundary of the recovery`, async (t) => {
    let tried = 0;
    for (let point = 0; point < MAX_POINTS; point += 1) {
      let reached = false;
      for (let again = 0; again < MAX_POINTS; again += 1) {
        const { world, pool } = await prepare();
        reached = await dieAt(world, point, () => operation.run(pool));
        if (!reached) break;
        await pool.detach();
        // In turns: the recovery after a power cut has other steps than that after a kill.
        const death = point % 2 === 0 ? "machine" : "process";
        revive(world, death);
        const { folder, kernel } = world;
        let opened: ThinPool | undefined;
        const died = await dieAt(world, again, async () => {
          opened = await openPool({ folder, kernel, monitor: false });
        });
        await opened?.detach();
        if (!died) break;
        revive(world, "process");
        await check(world, operation);
        tried += 1;
      }
      if (!reached) break;
    }
    assert.ok(tried > 0);
    t.diagnostic(`${tried} pairs of boundaries`);
  });
}

for (const death of ["process", "machine"] as const) {
  test(`createPool: the ${death} dies at every boundary, then it is called again`, async (t) => {
    let point = 0;
    for (; point < MAX_POINTS; point += 1) {
      const world = await emptyWorld();
      let made: ThinPool | undefined;
      const died = await dieAt(world, point, async () => {
        const { folder, kernel } = world;
        made = await createPool({ folder, kernel, backing: SIZES, monitor: false });
      });
      await made?.detach();
      if (!died) break;
      revive(world, death);
      const { folder, kernel } = world;
      await assert.rejects(openPool({ folder, kernel, monitor: false }), {
        code: "POOL_NOT_FOUND",
      });
      const pool = await createPool({ folder, kernel, backing: SIZES, monitor: false });
      await pool.createDevice({ name: "base", sizeBytes: 4n << 20n });
      await pool.close();
      assert.deepEqual(await kernel.leftovers(), []);
    }
    assert.ok(point > 0 && point < MAX_POINTS);
    t.diagnostic(`${point} boundaries`);
  });
}
