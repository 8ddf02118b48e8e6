/**
 * Every kernel call of every operation fails once with EIO: either all is undone and the pool works
 * on, or the pool is degraded, says so, and the next open settles it (INV-5, INV-7).
 */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { after, test } from "node:test";
import { NativeError } from "@thinpool/dm-native";
import type { SimKernel } from "@thinpool/dm-sim";
import {
  BEFORE,
  check,
  emptyWorld,
  MAX_POINTS,
  OPERATIONS,
  prepare,
  removeFolders,
  SIZES,
} from "./crash-world.test.support.ts";
import { createPool } from "./create-pool.ts";
import { PoolError } from "./errors.ts";
import { openPool } from "./open-pool.ts";

after(removeFolders);

/** The call with this number fails, and so do the `more` after it; returns how many calls there were. */
async function failAt(
  kernel: SimKernel,
  point: number,
  more: number,
  body: () => Promise<unknown>,
): Promise<{ readonly calls: number; readonly error: unknown }> {
  let calls = 0;
  const stop = kernel.onCall((call) => {
    if (call.phase !== "before") return;
    const number = calls;
    calls += 1;
    if (number < point || number > point + more) return;
    throw new NativeError({
      code: "NATIVE_IO",
      operation: call.operation,
      object: call.object,
      errno: 5,
      errnoName: "EIO",
      reason: "a fault was injected",
      hint: "None.",
    });
  });
  try {
    await body();
    return { calls, error: undefined };
  } catch (error) {
    return { calls, error };
  } finally {
    stop();
  }
}

for (const operation of OPERATIONS) {
  // With `more`, the roll-back fails as well.
  for (const more of [0, MAX_POINTS]) {
    test(`${operation.name}: call by call fails${more > 0 ? ", and all after it" : ""}`, async () => {
      for (let point = 0; point < MAX_POINTS; point += 1) {
        const { world, pool } = await prepare();
        const { calls, error } = await failAt(world.kernel, point, more, () => operation.run(pool));
        if (calls <= point) {
          await pool.close();
          return;
        }
        // An error that the operation could do without (a second try of a resume) is none.
        if (error !== undefined) {
          assert.ok(error instanceof PoolError);
          const names = pool.list().map((device) => device.name);
          if (error.code === "POOL_DEGRADED") {
            // A single failure can be undone, but for that of a deletion's last step.
            assert.ok(more > 0 || operation.name.startsWith("remove"), error.message);
            await assert.rejects(pool.activate({ name: "base" }), { code: "POOL_DEGRADED" });
            assert.ok(operation.outcomes.some((outcome) => outcome.join() === names.join()));
          } else {
            assert.deepEqual(names, BEFORE);
            // In turns: the next operation must find all in order, and so must the next open.
            if (point % 2 === 0) {
              await pool.createDevice({ name: "another", sizeBytes: 4n << 20n });
              await pool.remove({ name: "another" });
            }
          }
        }
        await pool.detach();
        await check(world, operation);
      }
      assert.fail("the operation has no end");
    });
  }
}

test("open: call by call fails, and nothing is left that was not there before", async () => {
  const operation = OPERATIONS[0];
  assert.ok(operation !== undefined);
  for (let point = 0; point < MAX_POINTS; point += 1) {
    const { world, pool } = await prepare();
    const { folder, kernel } = world;
    await pool.close();
    const { calls, error } = await failAt(kernel, point, 0, async () => {
      await (await openPool({ folder, kernel, monitor: false })).detach();
    });
    if (calls <= point) return;
    assert.ok(error instanceof PoolError);
    assert.deepEqual(await kernel.leftovers(), []);
    // The lock is free again.
    const again = await openPool({ folder, kernel, monitor: false });
    assert.equal(again.list().length, 2);
    await again.close();
  }
  assert.fail("opening has no end");
});

test("createPool: call by call fails, and the folder is gone again", async () => {
  for (let point = 0; point < MAX_POINTS; point += 1) {
    const { folder, kernel } = await emptyWorld();
    const { calls, error } = await failAt(kernel, point, 0, async () => {
      await (await createPool({ folder, kernel, backing: SIZES, monitor: false })).close();
    });
    if (error === undefined) return;
    assert.ok(calls > point && error instanceof PoolError);
    if (error.operation === "close") return;
    assert.deepEqual(await kernel.leftovers(), []);
    assert.deepEqual(await readdir(dirname(folder)), []);
  }
  assert.fail("creating has no end");
});

test("a resume that keeps failing degrades the pool, and opening resumes the origin", async () => {
  const { world, pool } = await prepare();
  world.kernel.failNext({ operation: "DM_DEV_RESUME", errno: "ENOMEM", times: 3 });
  await assert.rejects(pool.snapshot({ origin: "active", name: "new" }), (error) => {
    assert.ok(error instanceof PoolError);
    assert.equal(error.code, "POOL_DEGRADED");
    assert.match(error.reason, /resuming the origin/);
    return true;
  });
  await pool.detach();
  const [operation] = OPERATIONS;
  assert.ok(operation !== undefined);
  await check(world, { ...operation, outcomes: [BEFORE] });
});

test("a thin id that somebody else took is passed over and never deleted (INV-4)", async () => {
  const { world, pool } = await prepare();
  const live = await world.kernel.dm.listDevices();
  const entry = live.find(({ name }) => name.endsWith("-pool"));
  assert.ok(entry !== undefined);
  await world.kernel.dm.message({ dev: entry.dev }, "create_thin 2");
  await world.kernel.dm.message({ dev: entry.dev }, "create_thin 3");
  const { device } = await pool.snapshot({ origin: "base", name: "new" });
  assert.equal(device.thinId, 4);
  await pool.remove({ name: "new" });
  assert.deepEqual(world.kernel.checkMetadata(`/dev/mapper/${entry.name}`), [0, 1, 2, 3]);
  await pool.close();
});

test("metadata or ledger of another moment is refused (INV-2)", async () => {
  const { world, pool } = await prepare();
  const live = await world.kernel.dm.listDevices();
  const entry = live.find(({ name }) => name.endsWith("-pool"));
  assert.ok(entry !== undefined);
  await world.kernel.dm.message({ dev: entry.dev }, "set_transaction_id 2 9");
  await assert.rejects(pool.snapshot({ origin: "base", name: "new" }), PoolError);
  await pool.detach();
  const { folder, kernel } = world;
  await assert.rejects(openPool({ folder, kernel, monitor: false }), { code: "POOL_MISMATCH" });
});

test("a pool that was left suspended is resumed by the next open", async () => {
  const { world, pool } = await prepare();
  const { folder, kernel } = world;
  const entry = (await kernel.dm.listDevices()).find(({ name }) => name.endsWith("-pool"));
  assert.ok(entry !== undefined);
  await kernel.dm.suspend({ dev: entry.dev });
  await pool.detach();
  const again = await openPool({ folder, kernel, monitor: false });
  assert.equal((await kernel.dm.deviceStatus({ dev: entry.dev })).suspended, false);
  await again.close();
});
