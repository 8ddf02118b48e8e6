/**
 * The process dies, or the machine, right before or after every kernel call of a growth, and again at
 * every call of the open that settles it; and every call fails once (INV-16).
 */
import assert from "node:assert/strict";
import { copyFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  dieAt,
  MAX_POINTS,
  openWorld,
  prepare,
  removeFolders,
  revive,
  SIZES,
  type World,
} from "../crash-world.test.support.ts";
import { PoolError } from "../errors.ts";
import type { ThinPool } from "../pool.ts";
import { Ledger, type PoolRecord } from "../store/ledger.ts";

after(removeFolders);

const OLD = { data: SIZES.dataBytes ?? 0n, metadata: SIZES.metadataBytes ?? 0n } as const;
const NEW = { data: 96n << 20n, metadata: 8n << 20n } as const;
const GROWTHS = [
  { space: "data", run: (pool: ThinPool) => pool.extend({ dataBytes: NEW.data }) },
  { space: "metadata", run: (pool: ThinPool) => pool.extend({ metadataBytes: NEW.metadata }) },
] as const;

/** Of a pool that is open: its ledger is copied, since nobody else may read it. */
function recordOf({ folder }: World): PoolRecord | undefined {
  const copy = join(folder, "copy.sqlite");
  for (const suffix of ["", "-wal"]) {
    copyFileSync(join(folder, `pool.sqlite${suffix}`), copy + suffix);
  }
  const ledger = Ledger.open(copy);
  const record = ledger.pool();
  ledger.close();
  rmSync(copy);
  return record;
}

/** Opens, and finds the old size or the new one everywhere: kernel, ledger, file. Then it grows. */
async function judge(world: World, growth: (typeof GROWTHS)[number]): Promise<void> {
  const pool = await openWorld(world);
  const settled = recordOf(world);
  assert.equal(settled?.dataBytes, settled?.dataTargetBytes);
  assert.equal(settled?.metadataBytes, settled?.metadataTargetBytes);
  const { space } = growth;
  const total = async (): Promise<bigint> => {
    const status = await pool.status();
    return space === "data" ? status.dataTotalBytes : status.metadataTotalBytes;
  };
  const found = await total();
  assert.ok(found === OLD[space] || found === NEW[space], `${space} has ${found} bytes`);
  assert.equal(statSync(join(world.folder, space)).size, Number(found));
  for (const { dev } of await world.kernel.dm.listDevices()) {
    assert.equal((await world.kernel.dm.deviceStatus({ dev })).suspended, false);
  }
  await growth.run(pool);
  assert.equal(await total(), NEW[space]);
  await pool.activate({ name: "base" });
  await pool.snapshot({ origin: "base", name: "next" });
  await pool.close();
  const again = await openWorld(world);
  assert.equal((await again.status())[`${space}TotalBytes`], NEW[space]);
  await again.close();
  assert.deepEqual(await world.kernel.leftovers(), []);
}

for (const growth of GROWTHS) {
  for (const death of ["process", "machine"] as const) {
    test(`growth of ${growth.space}: the ${death} dies at every boundary`, async () => {
      let point = 0;
      for (; point < MAX_POINTS; point += 1) {
        const { world, pool } = await prepare();
        const died = await dieAt(world, point, () => growth.run(pool));
        await pool.detach();
        if (!died) break;
        revive(world, death);
        await judge(world, growth);
      }
      assert.ok(point > 8 && point < MAX_POINTS, `${point} boundaries`);
    });
  }

  test(`growth of ${growth.space}: and again at every boundary of the recovery`, async () => {
    let tried = 0;
    // What is left after one call is what is left before the next.
    for (let point = 0; point < MAX_POINTS; point += 2) {
      let reached = false;
      for (let again = 0; again < MAX_POINTS; again += 2) {
        const { world, pool } = await prepare();
        reached = await dieAt(world, point, () => growth.run(pool));
        await pool.detach();
        if (!reached) break;
        revive(world, point % 4 === 0 ? "machine" : "process");
        let opened: ThinPool | undefined;
        const died = await dieAt(world, again, async () => {
          opened = await openWorld(world);
        });
        await opened?.detach();
        if (!died) break;
        revive(world, "process");
        await judge(world, growth);
        tried += 1;
      }
      if (!reached) break;
    }
    assert.ok(tried > 30, `${tried} pairs of boundaries`);
  });

  test(`growth of ${growth.space}: every call fails once`, async () => {
    for (let point = 0; point < MAX_POINTS; point += 1) {
      const { world, pool } = await prepare();
      let calls = 0;
      const stop = world.kernel.onCall(({ phase, operation }) => {
        if (phase !== "before") return;
        if (calls === point) world.kernel.failNext({ operation, errno: "EIO" });
        calls += 1;
      });
      const outcome = await growth.run(pool).catch((error: unknown) => error);
      stop();
      // A resume that works at the second try is no failure.
      if (outcome instanceof Error) {
        assert.ok(outcome instanceof PoolError);
        assert.notEqual(outcome.code, "POOL_DEGRADED");
        // The same pool does it at the next try, or the next open ends it.
        if (point % 2 === 0) assert.equal((await growth.run(pool)).outcome, "extended");
      }
      await pool.detach();
      await judge(world, growth);
      if (calls <= point) return;
    }
    assert.fail("the growth has no end");
  });
}

test("what a crash before the file grew leaves is taken back, a file of another size refused", async () => {
  const { world, pool } = await prepare();
  await pool.close();
  const path = join(world.folder, "pool.sqlite");
  const ledger = Ledger.open(path);
  ledger.space.beginGrowth({ dataBytes: NEW.data, metadataBytes: OLD.metadata });
  ledger.close();
  const opened = await openWorld(world);
  assert.equal((await opened.status()).dataTotalBytes, OLD.data);
  await opened.close();
  const settled = Ledger.open(path);
  assert.equal(settled.pool()?.dataTargetBytes, OLD.data);
  settled.close();
  for (const bytes of [OLD.data - 4096n, OLD.data + 4096n]) {
    truncateSync(join(world.folder, "data"), Number(bytes));
    await assert.rejects(openWorld(world), { code: "POOL_MISMATCH" });
  }
});

test("a resume that keeps failing degrades the pool, and the next open goes on", async () => {
  const { world, pool } = await prepare();
  world.kernel.failNext({ operation: "DM_DEV_RESUME", errno: "ENOMEM", times: 3 });
  await assert.rejects(pool.extend({ dataBytes: NEW.data }), { code: "POOL_DEGRADED" });
  await assert.rejects(pool.extend({ dataBytes: NEW.data }), { code: "POOL_DEGRADED" });
  await pool.detach();
  await judge(world, GROWTHS[0]);
});
