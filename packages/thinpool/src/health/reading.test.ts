/** What is read of a live pool through its metadata snapshot: usage, changed blocks, check. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PoolError } from "../errors.ts";
import { openPool } from "../open-pool.ts";
import type { ChangedRange } from "./changed-blocks.ts";
import { checkPool } from "./check-closed.ts";
import {
  BLOCK_BYTES,
  DEVICE_BYTES,
  freshWorld,
  poolRef,
  removeFolders,
  withCode,
  type World,
  writeBlocks,
} from "./health-world.test.support.ts";
import { LONG_SNAPSHOT_HOLD_MS, MAX_SNAPSHOT_HOLD_MS } from "./metadata-snapshot.ts";

after(removeFolders);

const BLOCK = BigInt(BLOCK_BYTES);

/** "one" and "two" are snapshots of "base" with known writes in between. */
async function withSnapshots(): Promise<World> {
  const world = await freshWorld();
  const { kernel, pool } = world;
  const { device } = await pool.activate({ name: "base" });
  await writeBlocks(kernel, device.path, [0, 1, 2, 3, 4], "a");
  await pool.snapshot({ origin: "base", name: "one" });
  await writeBlocks(kernel, device.path, [1, 2, 20], "b");
  await kernel.blocks.discard(device.path, { offsetBytes: 4n * BLOCK, lengthBytes: BLOCK });
  await kernel.flush(device.path);
  await pool.snapshot({ origin: "base", name: "two" });
  return world;
}

async function all(ranges: AsyncIterable<ChangedRange>): Promise<readonly ChangedRange[]> {
  const out: ChangedRange[] = [];
  for await (const range of ranges) out.push(range);
  return out;
}

test("a check and a backup may hold the metadata snapshot for long, usage not", async (t) => {
  const { pool } = await withSnapshots();
  const timeout = t.mock.method(AbortSignal, "timeout");
  const longest = async (use: () => Promise<unknown>): Promise<number> => {
    timeout.mock.resetCalls();
    await use();
    return Math.max(...timeout.mock.calls.map(({ arguments: [ms] }) => ms));
  };
  assert.equal(await longest(() => pool.check({ mappings: true })), LONG_SNAPSHOT_HOLD_MS);
  assert.equal(await longest(() => pool.backup()), LONG_SNAPSHOT_HOLD_MS);
  assert.equal(await longest(() => pool.usage()), MAX_SNAPSHOT_HOLD_MS);
});

test("usage is exact, for all devices at once, and cached", async () => {
  const { kernel, pool } = await withSnapshots();
  const { devices, orphanBytes } = await pool.usage();
  const blocks = devices.map(({ name, mappedBytes, exclusiveBytes, sharedBytes }) => [
    name,
    mappedBytes / BLOCK,
    exclusiveBytes / BLOCK,
    sharedBytes / BLOCK,
  ]);
  assert.deepEqual(blocks, [
    ["base", 5n, 0n, 5n],
    ["one", 5n, 3n, 2n],
    ["two", 5n, 0n, 5n],
  ]);
  assert.equal(orphanBytes, 0n);
  kernel.resetCalls();
  await Promise.all([pool.usage(), pool.usage()]);
  assert.deepEqual({ ...kernel.calls }, {});
  await Promise.all([pool.usage({ maxAgeMs: 0 }), pool.usage({ maxAgeMs: 0 })]);
  assert.equal(kernel.calls["thin_ls"], 1);
  await pool.close();
});

test("usage of before a clock was set back is not given again for ever", async (t) => {
  const { pool, kernel } = await freshWorld();
  t.mock.timers.enable({ apis: ["Date"], now: Date.UTC(2030, 0, 1) });
  await pool.usage();
  t.mock.timers.setTime(Date.UTC(2026, 0, 1));
  kernel.resetCalls();
  await pool.usage({ maxAgeMs: 0 });
  assert.equal(kernel.calls["thin_ls"], 1);
  await pool.close();
});

test("changed blocks are the known writes, either way round", async () => {
  const { pool } = await withSnapshots();
  assert.deepEqual(await all(pool.changedBlocks({ from: "one", to: "two" })), [
    { offsetBytes: BLOCK, lengthBytes: 2n * BLOCK, kind: "changed" },
    { offsetBytes: 4n * BLOCK, lengthBytes: BLOCK, kind: "removed" },
    { offsetBytes: 20n * BLOCK, lengthBytes: BLOCK, kind: "added" },
  ]);
  const back = await all(pool.changedBlocks({ from: "two", to: "one" }));
  assert.deepEqual(
    back.map(({ kind }) => kind),
    ["changed", "added", "removed"],
  );
  assert.deepEqual(await all(pool.changedBlocks({ from: "two", to: "base" })), []);
  const none = pool.changedBlocks({ from: "one", to: "none" });
  await assert.rejects(all(none), withCode("DEVICE_NOT_FOUND"));
  await pool.close();
});

test("a reader who takes his time does not keep the metadata snapshot", async () => {
  const { pool } = await withSnapshots();
  for await (const range of pool.changedBlocks({ from: "one", to: "two" })) {
    assert.ok(range.lengthBytes > 0n);
    assert.equal(pool.metadataSnapshot().holder, undefined);
  }
  await pool.close();
});

test("a metadata snapshot that a dead process held is given back at open; a stranger's is not", async () => {
  const { folder, kernel, pool } = await withSnapshots();
  const held = async (): Promise<string | undefined> => {
    const { targets } = await kernel.dm.tableStatus(await poolRef(kernel), { noFlush: true });
    return targets[0]?.params.split(" ")[3];
  };
  let stuck = true;
  kernel.onCall((call) => {
    if (stuck && call.operation === "thin_ls") {
      stuck = false;
      // The process "dies" here: it never gets to its release.
      kernel.failNext({ operation: "DM_TARGET_MSG", match: "release", errno: "EIO" });
    }
  });
  await assert.rejects(pool.usage(), withCode("POOL_KERNEL"));
  assert.notEqual(await held(), "-");
  await pool.detach();
  const again = await openPool({ folder, kernel });
  assert.equal(await held(), "-");

  await kernel.dm.message(await poolRef(kernel), "reserve_metadata_snap");
  await assert.rejects(again.usage(), withCode("POOL_SNAPSHOT_BUSY", /another program/));
  await again.detach();
  const third = await openPool({ folder, kernel });
  assert.notEqual(await held(), "-");
  await third.close();
});

test("a reservation that failed, whatever for, leaves no row by which a stranger's snapshot would be ours", async () => {
  const { folder, kernel, pool } = await withSnapshots();
  const reserve = { operation: "DM_TARGET_MSG", match: "reserve_metadata_snap" } as const;
  const isHeld = async (): Promise<boolean> => {
    const { targets } = await kernel.dm.tableStatus(await poolRef(kernel), { noFlush: true });
    return targets[0]?.params.split(" ")[3] !== "-";
  };
  for (const errno of ["EIO", "ENOMEM", "EOPNOTSUPP"] as const) {
    kernel.failNext({ ...reserve, errno });
    await assert.rejects(pool.usage({ maxAgeMs: 0 }), PoolError);
    await kernel.dm.message(await poolRef(kernel), "reserve_metadata_snap");
    await assert.rejects(pool.usage({ maxAgeMs: 0 }), withCode("POOL_SNAPSHOT_BUSY"), errno);
    assert.ok(await isHeld(), errno);
    await kernel.dm.message(await poolRef(kernel), "release_metadata_snap");
  }
  kernel.failNext({ ...reserve, errno: "EIO" });
  await assert.rejects(pool.usage({ maxAgeMs: 0 }), PoolError);
  await pool.detach();
  await kernel.dm.message(await poolRef(kernel), "reserve_metadata_snap");
  const again = await openPool({ folder, kernel });
  assert.ok(await isHeld(), "nor does the next opening give it back");
  await again.close();
});

test("an abort ends the use and gives the metadata snapshot back", async () => {
  const { pool } = await withSnapshots();
  const controller = new AbortController();
  controller.abort(new Error("enough"));
  await assert.rejects(pool.usage({ signal: controller.signal }), /enough/);
  await sleep(0);
  assert.deepEqual(pool.metadataSnapshot(), { holder: undefined, waiting: 0 });
  assert.equal((await pool.usage()).devices.length, 3);
  await pool.close();
});

test("who closes or detaches does not wait for a use of the metadata snapshot, but ends it", async () => {
  for (const end of ["close", "detach"] as const) {
    const { folder, kernel, pool } = await withSnapshots();
    const uses = [pool.usage(), pool.check(), pool.backup()].map((use) =>
      use.then(
        () => "done",
        (error: unknown) => (error instanceof PoolError ? error.code : String(error)),
      ),
    );
    await pool[end]();
    for (const outcome of await Promise.all(uses)) {
      assert.ok(outcome === "done" || outcome === "POOL_CLOSED", outcome);
    }
    const again = await openPool({ folder, kernel });
    assert.deepEqual((await again.check()).findings, []);
    await again.close();
    assert.deepEqual(await kernel.leftovers(), []);
  }
});

test("check finds nothing in a sound pool, open or closed", async () => {
  const { folder, kernel, pool } = await withSnapshots();
  const open = await pool.check({ mappings: true });
  assert.deepEqual([open.metadata, open.findings], ["clean", []]);
  await assert.rejects(checkPool({ folder, kernel }), withCode("POOL_LOCKED"));
  await pool.close();
  const closed = await checkPool({ folder, kernel, mappings: true });
  assert.deepEqual([closed.metadata, closed.findings], ["clean", []]);
  assert.deepEqual(await kernel.leftovers(), []);
});

test("check tells orphans, lost records, sizes and leftovers", async () => {
  const { folder, kernel, pool } = await withSnapshots();
  const ref = await poolRef(kernel);
  await kernel.dm.message(ref, "create_thin 77");
  await kernel.dm.message(ref, `delete ${pool.get({ name: "one" }).thinId}`);
  await pool.createDevice({ name: "next", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  await kernel.dm.message(ref, `delete ${pool.get({ name: "two" }).thinId}`);
  await kernel.dm.message(ref, `create_snap ${pool.get({ name: "two" }).thinId} 77`);
  const report = await pool.check();
  assert.deepEqual(
    report.findings.map(({ code, object }) => [code, object]),
    [
      ["LOST", "one"],
      ["DEVICE_TRANSACTION", "two"],
      ["ORPHAN", "thin id 77"],
    ],
  );
  const base = pool.get({ name: "base" });
  await assert.rejects(pool.removeOrphan(base), withCode("POOL_OPTION_INVALID", /base/));
  await pool.removeOrphan({ thinId: 77 });
  await pool.removeOrphan({ thinId: 77 });
  assert.equal((await pool.check()).findings.length, 2);
  await pool.detach();
  const live = await checkPool({ folder, kernel });
  assert.deepEqual(
    [...new Set(live.findings.map(({ code }) => code))],
    ["DM_LEFTOVER", "LOOP_LEFTOVER"],
  );
  assert.equal(live.metadata, "unknown");
  await (await openPool({ folder, kernel })).close();
  kernel.metadataTools.installed = false;
  const unknown = await checkPool({ folder, kernel });
  assert.deepEqual(
    [unknown.metadata, unknown.findings.map(({ code }) => code)],
    ["unknown", ["TOOL_MISSING"]],
  );
});
