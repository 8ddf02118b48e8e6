/**
 * The process dies, or the machine, right before or after every kernel call and every commit of the
 * ledger of every operation, and again at every one of the recovery; then the pool is opened and checked
 * (docs/INVARIANTS.md). Of boundaries with nothing but a question between them one is tried: a death
 * leaves the same at each.
 *
 * A dead process writes nothing, but the code under test still runs its roll-back: so the pool's
 * folder is copied at the moment of death and put back before the next open.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  check,
  type Death,
  dieAt,
  differingPoints,
  emptyWorld,
  MAX_POINTS,
  type Operation,
  OPERATIONS,
  openWorld,
  prepare,
  quiet,
  removeFolders,
  revive,
  SIZES,
  type Told,
  type World,
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
      const points = await pointsOf(operation);
      for (const point of points) {
        const { world, told } = await afterDeath(operation, point, death);
        await check(world, operation, told);
      }
      t.diagnostic(`${points.length} boundaries`);
    });
  }

  test(`${operation.name}: and again at every boundary of the recovery`, async (t) => {
    const points = await pointsOf(operation);
    let tried = 0;
    for (const [number, point] of points.entries()) {
      // In turns: the recovery after a power cut has other steps than that after a kill.
      const death = number % 2 === 0 ? "machine" : "process";
      const first = await afterDeath(operation, point, death);
      const recovered = await differingPoints(first.world, async () => {
        await (await openWorld(first.world)).detach();
      });
      for (const again of recovered) {
        const { world: left, told } = await afterDeath(operation, point, death);
        let opened: ThinPool | undefined;
        const died = await dieAt(left, again, async () => {
          opened = await openWorld(left);
          await opened.detach();
        });
        assert.ok(died);
        await opened?.detach();
        revive(left, "process");
        await check(left, operation, told);
        tried += 1;
      }
    }
    assert.ok(tried > points.length);
    t.diagnostic(`${tried} pairs of boundaries`);
  });
}

async function pointsOf(operation: Operation): Promise<readonly number[]> {
  const { world, pool } = await prepare();
  const points = await differingPoints(world, () => operation.run(pool, noOneTold()));
  await pool.close();
  assert.ok(points.length > 1);
  return points;
}

const noOneTold = (): Told => ({ made: [], removed: [] });

/** What the operation leaves that dies at this boundary: nobody has opened it yet. */
async function afterDeath(
  operation: Operation,
  point: number,
  death: Death,
): Promise<{ readonly world: World; readonly told: Told }> {
  const { world, pool } = await prepare();
  const told = noOneTold();
  assert.ok(await dieAt(world, point, () => operation.run(pool, told)));
  await pool.detach();
  revive(world, death);
  return { world, told };
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
