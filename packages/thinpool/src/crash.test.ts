/**
 * The process dies, or the machine, right before or after every kernel call and every commit of the
 * ledger of every operation, and again at every one of the recovery; then the pool is opened and checked (docs/INVARIANTS.md).
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
  openWorld,
  prepare,
  quiet,
  removeFolders,
  revive,
  SIZES,
  type Told,
} from "./crash-world.test.support.ts";
import { createPool } from "./create-pool.ts";
import { PoolError } from "./errors.ts";
import { openPool } from "./open-pool.ts";
import type { ThinPool } from "./pool.ts";
import { Pool } from "./thin-pool.ts";

after(removeFolders);

for (const operation of OPERATIONS) {
  for (const death of ["process", "machine"] as const) {
    test(`${operation.name}: the ${death} dies at every boundary`, async (t) => {
      let point = 0;
      for (; point < MAX_POINTS; point += 1) {
        const { world, pool } = await prepare();
        const told: Told = { made: [], removed: [] };
        const died = await dieAt(world, point, () => operation.run(pool, told));
        if (!died) break;
        await pool.detach();
        revive(world, death);
        await check(world, operation, told);
      }
      assert.ok(point > 0 && point < MAX_POINTS);
      t.diagnostic(`${point} boundaries`);
    });
  }

  // What is left after one call is what is left before the next: every second boundary, and the last.
  test(`${operation.name}: and again at every boundary of the recovery`, async (t) => {
    let tried = 0;
    for (let point = 0, last = false; point < MAX_POINTS && !last; point += 2) {
      for (let again = 0; again < MAX_POINTS; again += 2) {
        const { world, pool } = await prepare();
        const told: Told = { made: [], removed: [] };
        const run = (at: number): Promise<boolean> =>
          dieAt(world, at, () => operation.run(pool, told));
        if (!(await run(last ? point - 1 : point))) {
          await pool.close();
          if (last) break;
          last = true;
          continue;
        }
        await pool.detach();
        // In turns: the recovery after a power cut has other steps than that after a kill.
        revive(world, point % 4 === 0 ? "machine" : "process");
        let opened: ThinPool | undefined;
        const died = await dieAt(world, again, async () => {
          opened = await openWorld(world);
        });
        await opened?.detach();
        if (!died) break;
        revive(world, "process");
        await check(world, operation, told);
        tried += 1;
      }
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
        made = await createPool({ ...quiet(world), backing: SIZES });
      });
      await made?.detach();
      if (!died) break;
      revive(world, death);
      const { kernel } = world;
      const opened = await openPool(quiet(world)).catch((error: unknown) => error);
      if (opened instanceof Pool) {
        // Its last commit says that it is there.
        await opened.close();
        await assert.rejects(createPool(quiet(world)), { code: "POOL_EXISTS" });
        assert.deepEqual(await kernel.leftovers(), []);
        continue;
      }
      assert.ok(opened instanceof PoolError);
      assert.equal(opened.code, "POOL_NOT_FOUND");
      const pool = await createPool({ ...quiet(world), backing: SIZES });
      await pool.createDevice({ name: "base", sizeBytes: 4n << 20n });
      await pool.close();
      assert.deepEqual(await kernel.leftovers(), []);
    }
    assert.ok(point > 0 && point < MAX_POINTS);
    t.diagnostic(`${point} boundaries`);
  });
}
