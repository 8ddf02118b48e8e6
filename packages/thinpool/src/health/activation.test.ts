/** What is checked before a pool goes live, and how sick pools are told apart (INV-20). */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import { openPool } from "../open-pool.ts";
import { repairPool } from "./repair.ts";
import { Ledger } from "../store/ledger.ts";
import {
  DEVICE_BYTES,
  freshWorld,
  poolPath,
  poolRef,
  powerCut,
  removeFolders,
  withCode,
} from "./health-world.test.support.ts";

after(removeFolders);

/** Runs `body` with a loop on the closed pool's metadata, as a program that damages it would. */
async function onMetadata(
  kernel: SimKernel,
  folder: string,
  body: (path: string) => Promise<void> | void,
): Promise<void> {
  const loop = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  await body(loop.path);
  await kernel.loops.detach(loop.path);
}

test("thin_check runs after an unclean stop, and not after a clean one", async () => {
  const world = await freshWorld();
  const { folder } = world;
  await world.pool.close();
  const kernel = world.kernel;
  kernel.resetCalls();
  const second = await openPool({ folder, kernel });
  assert.equal(kernel.calls["thin_check"], undefined);
  const cut = await powerCut({ folder, kernel, pool: second });
  const third = await openPool({ folder, kernel: cut });
  assert.equal(cut.calls["thin_check"], 1);
  await third.close();
  cut.resetCalls();
  await (await openPool({ folder, kernel: cut })).close();
  assert.equal(cut.calls["thin_check"], undefined);
});

test("a pool that is still live is taken over without a check", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.detach();
  kernel.resetCalls();
  const again = await openPool({ folder, kernel });
  assert.equal(kernel.calls["thin_check"], undefined);
  await again.close();
});

test("a live pool that somebody gave another table is refused, and stays as it is", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.detach();
  const ref = await poolRef(kernel);
  const { targets } = await kernel.dm.table(ref);
  const others = targets.map((target) => ({
    ...target,
    // The low-water mark is the number after the block size.
    params: target.params.replace(/ 128 \d+ /, " 128 7 "),
  }));
  await kernel.dm.loadTable(ref, others);
  await kernel.dm.suspend(ref);
  await kernel.dm.resume(ref);
  await assert.rejects(openPool({ folder, kernel }), withCode("POOL_MISMATCH", /its table is/));
  assert.deepEqual((await kernel.dm.table(ref)).targets, others);
});

test("damage refuses the opening, and nothing is left", async () => {
  const world = await freshWorld();
  const kernel = await powerCut(world);
  const { folder } = world;
  await onMetadata(kernel, folder, (path) => kernel.damageMetadata(path));
  await assert.rejects(openPool({ folder, kernel }), withCode("POOL_NEEDS_REPAIR", /thin_check/));
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a missing tool is an error of its own, which an option overrides", async () => {
  const world = await freshWorld();
  const kernel = await powerCut(world);
  const { folder } = world;
  kernel.metadataTools.installed = false;
  await assert.rejects(openPool({ folder, kernel }), withCode("POOL_TOOL_MISSING", /not known/));
  const pool = await openPool({ folder, kernel, allowMissingTool: true });
  await pool.close();
  // A clean stop needs no tool.
  await (await openPool({ folder, kernel })).close();
});

test("a blank metadata device is refused, even after a clean stop: the kernel would make a new pool", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  await onMetadata(kernel, folder, (path) =>
    kernel.blocks.zeroOut(path, { offsetBytes: 0n, lengthBytes: 4096n }),
  );
  await assert.rejects(openPool({ folder, kernel }), withCode("POOL_NEEDS_REPAIR"));
  kernel.metadataTools.installed = false;
  await assert.rejects(
    openPool({ folder, kernel, allowMissingTool: true }),
    withCode("POOL_MISMATCH", /carries nothing/),
  );
  assert.deepEqual(await kernel.leftovers(), []);
});

test("needs_check, read-only and Fail are told apart, in status and in errors", async () => {
  const cases = [
    ["read-only", true, "needs-check", "POOL_NEEDS_CHECK"],
    ["out-of-metadata", false, "read-only", "POOL_READ_ONLY"],
    ["fail", false, "failed", "POOL_FAILED"],
  ] as const;
  for (const [mode, needsCheck, state, code] of cases) {
    const { folder, kernel, pool } = await freshWorld();
    kernel.setPoolMode(await poolPath(kernel), mode, { needsCheck });
    assert.equal((await pool.status()).state, state);
    await assert.rejects(pool.snapshot({ origin: "base", name: "new" }), withCode(code));
    const report = await pool.check();
    assert.deepEqual(
      report.findings.map((finding) => finding.code),
      [code],
    );
    await pool.detach();
    if (mode === "fail") {
      await assert.rejects(openPool({ folder, kernel }), withCode(code));
      continue;
    }
    // It may be mounted and read: it is taken over as it is.
    const adopted = await openPool({ folder, kernel });
    assert.equal((await adopted.status()).state, state);
    await adopted.close();
    if (!needsCheck) continue;
    await assert.rejects(openPool({ folder, kernel }), withCode(code));
    assert.deepEqual(await kernel.leftovers(), []);
  }
});

test("a live pool out of metadata is taken over to be grown, whatever a crash left that can wait", async () => {
  const { folder, kernel, pool } = await freshWorld();
  const stop = kernel.onCall(({ phase, operation }) => {
    if (phase === "before" && operation === "mkfs") kernel.die("a crash");
  });
  await assert.rejects(pool.createDevice({ name: "half", sizeBytes: DEVICE_BYTES }));
  stop();
  await pool.detach();
  kernel.processDeath();
  const ledger = Ledger.open(join(folder, "pool.sqlite"));
  ledger.health.setSnapshotHolder({ owner: "backup", sinceMs: 0 });
  ledger.close();
  await kernel.dm.message(await poolRef(kernel), "reserve_metadata_snap");
  kernel.fillMetadata(await poolPath(kernel), 2000);

  const again = await openPool({ folder, kernel, monitor: false });
  assert.equal((await again.status()).state, "read-only");
  await again.extend({ metadataBytes: 16n << 20n });
  assert.equal((await again.status()).state, "working");
  // Our own snapshot is known to be ours, and given back.
  await again.usage({ maxAgeMs: 0 });
  await again.createDevice({ name: "next", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  await again.close();
  const third = await openPool({ folder, kernel, monitor: false });
  assert.deepEqual(
    third.list().map(({ name }) => name),
    ["base", "next"],
  );
  assert.deepEqual((await third.check()).findings, []);
  await third.close();
});

test("a growth that a pool in need of a check ignores has not ended", async () => {
  const { folder, kernel, pool } = await freshWorld();
  kernel.failNext({ operation: "DM_TABLE_LOAD", errno: "EIO" });
  await assert.rejects(pool.extend({ dataBytes: 128n << 20n }));
  await pool.detach();
  kernel.setPoolMode(await poolPath(kernel), "read-only", { needsCheck: true });
  const sick = await openPool({ folder, kernel, monitor: false });
  const last = sick.lastEventNumber;
  const events = sick.events({ after: 0 });
  const types: string[] = [];
  for (let next = await events.next(); !(next.done ?? false); next = await events.next()) {
    types.push(next.value.type);
    if (next.value.number === last) break;
  }
  assert.equal((await sick.status()).dataTotalBytes, 64n << 20n);
  assert.ok(!types.includes("grown"), types.join());
  await sick.close();
  await assert.rejects(openPool({ folder, kernel, monitor: false }), withCode("POOL_NEEDS_CHECK"));
  await repairPool({ folder, kernel });
  const well = await openPool({ folder, kernel, monitor: false });
  assert.equal((await well.status()).dataTotalBytes, 128n << 20n);
  await well.close();
});
