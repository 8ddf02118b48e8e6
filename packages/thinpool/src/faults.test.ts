/**
 * Every kernel call of every operation fails once, with each errno, and so does every commit: either
 * all is undone and the pool works on, or the pool is degraded, says so, and the next open settles it
 * (INV-5, INV-7).
 */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { NativeError } from "@thinpool/dm-native";
import type { SimKernel } from "@thinpool/dm-sim";
import {
  BEFORE,
  check,
  emptyWorld,
  MAX_POINTS,
  type Operation,
  OPERATIONS,
  prepare,
  removeFolders,
  SIZES,
  type Told,
  type World,
} from "./crash-world.test.support.ts";
import { createPool } from "./create-pool.ts";
import { deviceDmUuid, poolDmUuid } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { openPool } from "./open-pool.ts";
import type { ThinPool } from "./pool.ts";

after(removeFolders);

/** What each errno is to the engine; the real bindings give the same codes (dm-native, sys/errno.ts). */
const ERRNOS = {
  EIO: [5, "NATIVE_IO"],
  ENOMEM: [12, "NATIVE_IO"],
  EBUSY: [16, "NATIVE_BUSY"],
  EEXIST: [17, "NATIVE_EXISTS"],
  ENOSPC: [28, "NATIVE_NO_SPACE"],
  EOPNOTSUPP: [95, "NATIVE_REFUSED"],
} as const;
type ErrnoName = keyof typeof ERRNOS;
const ERRNO_NAMES = Object.keys(ERRNOS) as readonly ErrnoName[];

/** The call with this number fails, and so do the `more` after it; returns how many calls there were. */
async function failAt(
  kernel: SimKernel,
  point: number,
  more: number,
  body: () => Promise<unknown>,
  errnoName: ErrnoName = "EIO",
): Promise<{ readonly calls: number; readonly error: unknown }> {
  let calls = 0;
  const stop = kernel.onCall((call) => {
    if (call.phase !== "before") return;
    const number = calls;
    calls += 1;
    if (number < point || number > point + more) return;
    const [errno, code] = ERRNOS[errnoName];
    throw new NativeError({
      code,
      operation: call.operation,
      object: call.object,
      errno,
      errnoName,
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

/** Of several operations at once one may fail and the others not: then what callers were told holds. */
function withTold(operation: Operation, told: Told): Operation {
  const left = BEFORE.filter((name) => !told.removed.includes(name));
  return {
    ...operation,
    outcomes: [...operation.outcomes, [...left, ...told.made].toSorted()],
  };
}

/** What must hold after an operation failed, whatever it was that failed. */
async function checkFailed(
  { world, pool }: { readonly world: World; readonly pool: ThinPool },
  operation: Operation,
  error: PoolError,
  turn: number,
): Promise<void> {
  const names = pool.list().map((device) => device.name);
  assert.ok(
    operation.outcomes.some((outcome) => outcome.join() === names.join()),
    `after ${error.message} there is ${names.join()}`,
  );
  if (error.code === "POOL_DEGRADED") {
    await assert.rejects(pool.activate({ name: "base" }), { code: "POOL_DEGRADED" });
    assert.notEqual((await pool.status()).degradedReason, undefined);
    return;
  }
  const counting = pool.list().map(({ uuid }) => deviceDmUuid(pool.uuid, uuid));
  const known = new Set([poolDmUuid(pool.uuid), ...counting]);
  for (const { dev } of await world.kernel.dm.listDevices()) {
    const { uuid, suspended, hasLiveTable } = await world.kernel.dm.deviceStatus({ dev });
    assert.equal(suspended, false);
    // One that does not count was being emptied when calls began to fail: opening takes it away.
    const isLeft = operation.deletes === true && uuid !== undefined && !known.has(uuid);
    assert.ok(hasLiveTable || isLeft, `${uuid} has no live table`);
  }
  // In turns: the next operation must find all in order, and so must the next open.
  if (turn % 2 === 1) return;
  await pool.createDevice({ name: "another", sizeBytes: 4n << 20n });
  await pool.remove({ name: "another" });
}

for (const operation of OPERATIONS) {
  test(`${operation.name}: call by call fails, with every errno`, async () => {
    for (const errnoName of ERRNO_NAMES) {
      for (let point = 0; ; point += 1) {
        assert.ok(point < MAX_POINTS, "the operation has no end");
        const { world, pool } = await prepare();
        const told: Told = { made: [], removed: [] };
        const run = (): Promise<unknown> => operation.run(pool, told);
        const { calls, error } = await failAt(world.kernel, point, 0, run, errnoName);
        if (calls <= point) {
          await pool.close();
          break;
        }
        // An error that the operation could do without (a second try of a resume) is none.
        if (error !== undefined) {
          assert.ok(error instanceof PoolError);
          // A single failure can be undone, but for that of a deletion's last step.
          assert.ok(error.code !== "POOL_DEGRADED" || operation.deletes === true, error.message);
          await checkFailed({ world, pool }, withTold(operation, told), error, point);
        }
        await pool.detach();
        await check(world, withTold(operation, told), told);
      }
    }
  });

  test(`${operation.name}: call by call fails, and all after it`, async () => {
    for (let point = 0; ; point += 1) {
      assert.ok(point < MAX_POINTS, "the operation has no end");
      const { world, pool } = await prepare();
      const told: Told = { made: [], removed: [] };
      const run = (): Promise<unknown> => operation.run(pool, told);
      const { calls, error } = await failAt(world.kernel, point, MAX_POINTS, run);
      if (calls <= point) {
        await pool.close();
        return;
      }
      // A removal has happened with its first commit: the next open does what could not be done.
      if (error === undefined) {
        assert.equal(operation.deletes, true);
      } else {
        assert.ok(error instanceof PoolError);
        await checkFailed({ world, pool }, withTold(operation, told), error, point);
      }
      await pool.detach();
      await check(world, withTold(operation, told), told);
    }
  });

  test(`${operation.name}: commit by commit fails, on the disk or not`, async () => {
    for (let point = 0; ; point += 1) {
      assert.ok(point < MAX_POINTS, "the operation has no end");
      const { world, pool } = await prepare();
      let seen = 0;
      world.commitListener = () => {
        seen += 1;
        if (seen === point + 1) throw new Error("a fault was injected");
      };
      const told: Told = { made: [], removed: [] };
      const outcome = await operation.run(pool, told).then(
        () => undefined,
        (error: unknown) => error,
      );
      world.commitListener = undefined;
      if (seen <= point) {
        await pool.close();
        return;
      }
      assert.ok(outcome instanceof PoolError);
      assert.equal(outcome.code, "POOL_DEGRADED");
      await checkFailed({ world, pool }, withTold(operation, told), outcome, point);
      await pool.detach();
      await check(world, withTold(operation, told), told);
    }
  });
}

test("a thin device that the kernel has not let go of yet is deleted a little later", async () => {
  const { world, pool } = await prepare();
  const { kernel } = world;
  const id = Number(pool.get({ name: "idle" }).thinId);
  kernel.failNext({
    operation: "DM_TARGET_MSG",
    match: /^delete /,
    errno: "EBUSY",
    // With the first one the group's messages end, and each goes its own way.
    times: 4,
  });
  await pool.remove({ name: "idle" });
  const live = await kernel.dm.listDevices();
  const poolDevice = live.find(({ name }) => name.endsWith("-pool"));
  assert.ok(!kernel.checkMetadata(`/dev/mapper/${poolDevice?.name}`).includes(id));
  assert.deepEqual((await pool.check()).findings, []);
  await pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

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
    assert.equal(again.list().length, 4);
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
    assert.match(error.reason, /resuming the device/);
    return true;
  });
  await pool.detach();
  const [operation] = OPERATIONS;
  assert.ok(operation !== undefined);
  await check(world, { ...operation, outcomes: [BEFORE] });
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

test("metadata older than the ledger is refused, and no record goes for it (INV-2)", async () => {
  const { world, pool } = await prepare();
  await pool.close();
  const { folder, kernel } = world;
  const ahead = (by: number): void => {
    using ledger = new DatabaseSync(join(folder, "pool.sqlite"));
    ledger
      .prepare(
        `UPDATE pool SET last_transaction_id =
           ? + max(last_transaction_id, (SELECT max(transaction_id) FROM device))`,
      )
      .run(by);
  };
  ahead(2);
  const older = { code: "POOL_MISMATCH", message: /the metadata is older/ };
  await assert.rejects(openPool({ folder, kernel, monitor: false }), older);
  ahead(-2);
  await using again = await openPool({ folder, kernel, monitor: false });
  assert.deepEqual(
    again.list().map(({ name }) => name),
    BEFORE,
  );
});

test("a pool device that nobody gave a table is made anew by the next open", async () => {
  const { world, pool } = await prepare();
  const { dm } = world.kernel;
  const entry = (await dm.listDevices()).find(({ name }) => name.endsWith("-pool"));
  assert.ok(entry !== undefined);
  const { uuid } = await dm.deviceStatus({ dev: entry.dev });
  assert.ok(uuid !== undefined);
  await pool.close();
  await dm.createDevice(entry.name, { uuid });
  const { folder, kernel } = world;
  await using again = await openPool({ folder, kernel, monitor: false });
  assert.equal((await again.status()).state, "working");
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
