/** Thin ids that are free in the ledger and taken in the kernel (INV-4): ours by proof, or not. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import {
  dieAt,
  MAX_POINTS,
  openWorld,
  prepare,
  removeFolders,
  revive,
  type World,
} from "./crash-world.test.support.ts";
import { PoolError } from "./errors.ts";
import { poolRef } from "./health/health-world.test.support.ts";
import type { ThinPool } from "./pool.ts";

after(removeFolders);

/** The next id that `prepare`'s pool gives out. */
const NEXT = 4;

/** As a stranger sends it, past the engine. */
async function message(kernel: SimKernel, text: string): Promise<void> {
  const entry = (await kernel.dm.listDevices()).find(({ name }) => name.endsWith("-pool"));
  assert.ok(entry !== undefined);
  await kernel.dm.message({ dev: entry.dev }, text);
}

async function thinIds(kernel: SimKernel): Promise<readonly number[]> {
  const entry = (await kernel.dm.listDevices()).find(({ name }) => name.endsWith("-pool"));
  return kernel.checkMetadata(`/dev/mapper/${entry?.name}`).toSorted((a, b) => a - b);
}

function journal(pool: ThinPool): readonly (readonly [action: string, object: string])[] {
  return pool.recoveryJournal().map(({ action, object }) => [action, object] as const);
}

/** What the ledger of a closed pool remembers of ids that no record has. */
function remembered({ folder }: World): { readonly foreign: number; readonly takenBack: number } {
  using ledger = new DatabaseSync(join(folder, "pool.sqlite"));
  const count = (table: string): number =>
    Number(ledger.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.["n"]);
  return { foreign: count("foreign_thin_id"), takenBack: count("taken_back_thin_id") };
}

/** A snapshot that the kernel refuses at its end and that is undone; the kernel then has it all the same. */
async function leaveOne({ kernel }: World, pool: ThinPool): Promise<void> {
  const match = "set_transaction_id";
  kernel.failNext({ operation: "DM_TARGET_MSG", match, errno: "EIO" });
  await assert.rejects(pool.snapshot({ origin: "base", name: "new" }), PoolError);
  assert.deepEqual(await thinIds(kernel), [0, 1, 2, 3]);
  // The commit of the undoing's `delete` was lost: a kernel that fails to commit goes back to the last.
  await message(kernel, `create_thin ${NEXT}`);
}

test("what a failed creation left is deleted, and its id used", async () => {
  const { world, pool } = await prepare();
  await leaveOne(world, pool);
  const [finding] = (await pool.check()).findings;
  assert.deepEqual([finding?.code, finding?.object], ["UNSETTLED", `thin id ${NEXT}`]);
  const { device } = await pool.snapshot({ origin: "base", name: "new" });
  assert.equal(device.thinId, NEXT);
  assert.deepEqual(journal(pool), [["remove-leftover", `thin id ${NEXT}`]]);
  // It is the snapshot's content, not what was left.
  await pool.activate({ name: "new" });
  assert.equal((await world.kernel.blocks.signature(device.path))?.type, "ext4");
  assert.deepEqual((await pool.check()).findings, []);
  await pool.detach();
  // Of the same transaction and under the same id as what was taken back: it stays.
  const again = await openWorld(world);
  assert.ok(again.list().some(({ name }) => name === "new"));
  assert.deepEqual(await thinIds(world.kernel), [0, 1, 2, 3, NEXT]);
  await again.close();
});

test("and opening deletes it", async () => {
  const { world, pool } = await prepare();
  await leaveOne(world, pool);
  await pool.detach();
  const again = await openWorld(world);
  assert.deepEqual(await thinIds(world.kernel), [0, 1, 2, 3]);
  const said = `thin id ${NEXT}`;
  assert.deepEqual(journal(again), [
    ["look-at-thin-ids", `thin ids ${NEXT}`],
    ["remove-leftover", said],
  ]);
  await again.close();
  assert.deepEqual(remembered(world), { foreign: 0, takenBack: 0 });
});

test("a stranger's is passed over and never deleted; check and the journal tell of it", async () => {
  const { world, pool } = await prepare();
  await message(world.kernel, `create_thin ${NEXT}`);
  await message(world.kernel, `create_thin ${NEXT + 1}`);
  world.kernel.resetCalls();
  const { device } = await pool.snapshot({ origin: "base", name: "new" });
  assert.equal(device.thinId, NEXT + 2);
  // One look serves both.
  assert.equal(world.kernel.calls["thin_dump"], 1);
  await pool.remove({ name: "new" });
  assert.deepEqual(await thinIds(world.kernel), [0, 1, 2, 3, NEXT, NEXT + 1]);
  assert.deepEqual(journal(pool), [
    ["pass-over-thin-id", `thin id ${NEXT}`],
    ["pass-over-thin-id", `thin id ${NEXT + 1}`],
  ]);
  const { findings } = await pool.check();
  assert.deepEqual(
    findings.map(({ code, object }) => [code, object]),
    [
      ["ORPHAN", `thin id ${NEXT}`],
      ["ORPHAN", `thin id ${NEXT + 1}`],
    ],
  );
  assert.match(findings[0]?.reason ?? "", /left it alone/);
  await pool.detach();
  // Opening does not touch it either; an id that its owner has given up is free again.
  await message(world.kernel, `delete ${NEXT}`);
  const again = await openWorld(world);
  assert.deepEqual(await thinIds(world.kernel), [0, 1, 2, 3, NEXT + 1]);
  await again.close();
  assert.deepEqual(remembered(world), { foreign: 1, takenBack: 0 });
});

test("an id that a stranger took before our intent is not deleted, wherever we die", async () => {
  for (const death of ["process", "machine"] as const) {
    for (let point = 0; ; point += 1) {
      assert.ok(point < MAX_POINTS, "the operation has no end");
      const { world, pool } = await prepare();
      await message(world.kernel, `create_thin ${NEXT}`);
      // The pool's number moves on, so the stranger's is of before.
      await pool.remove({ name: "idle" });
      const died = await dieAt(world, point, () => pool.snapshot({ origin: "base", name: "new" }));
      await pool.detach();
      if (!died) break;
      revive(world, death);
      const again = await openWorld(world);
      const ours = again.list().map(({ thinId }) => Number(thinId));
      assert.ok(!ours.includes(NEXT));
      const all = [...ours, NEXT].toSorted((a, b) => a - b);
      assert.deepEqual(await thinIds(world.kernel), all, `after a death at boundary ${point}`);
      const undone = journal(again).some(([action]) => action === "undo-creation");
      await again.close();
      // What was found out about the id is not found out again.
      if (undone) assert.equal(remembered(world).foreign, 1);
    }
  }
});

test("an id that the kernel only says is taken is used, at once or when it was looked at", async () => {
  const { world, pool } = await prepare();
  const { kernel } = world;
  for (const [index, times] of [1, 2].entries()) {
    kernel.resetCalls();
    const match = "create_snap";
    kernel.failNext({ operation: "DM_TARGET_MSG", match, errno: "EEXIST", times });
    const { device } = await pool.snapshot({ origin: "base", name: `new-${times}` });
    assert.equal(device.thinId, NEXT + index);
    assert.equal(kernel.calls["thin_dump"] ?? 0, index);
  }
  assert.deepEqual(journal(pool), []);
  await pool.close();
  assert.deepEqual(remembered(world), { foreign: 0, takenBack: 0 });
});

test("what can't be looked at is not ours: no tool, or a snapshot of the metadata in other hands", async () => {
  const { world, pool } = await prepare();
  const { kernel } = world;
  await leaveOne(world, pool);
  kernel.metadataTools.installed = false;
  const first = await pool.snapshot({ origin: "base", name: "new" });
  assert.equal(first.device.thinId, NEXT + 1);
  kernel.metadataTools.installed = true;
  await message(kernel, "reserve_metadata_snap");
  await message(kernel, `create_thin ${NEXT + 2}`);
  const second = await pool.snapshot({ origin: "base", name: "newer" });
  assert.equal(second.device.thinId, NEXT + 3);
  for (const { reason } of pool.recoveryJournal()) assert.match(reason, /could not be looked at/);
  await message(kernel, "release_metadata_snap");
  assert.deepEqual(await thinIds(kernel), [0, 1, 2, 3, 4, 5, 6, 7]);
  await pool.close();
});

test("what opening deletes while the pool falls sick is remembered: it may be back", async () => {
  const seen = { deletion: false };
  for (let point = 0; !seen.deletion; point += 1) {
    assert.ok(point < MAX_POINTS, "the operation has no end");
    const { world, pool } = await prepare();
    await dieAt(world, point, () => pool.snapshot({ origin: "base", name: "new" }));
    await pool.detach();
    revive(world, "process");
    const { kernel } = world;
    const path = `/dev/mapper/${(await poolRef(kernel)).name}`;
    kernel.onCall(({ phase, detail }) => {
      if (phase !== "after" || !detail.includes(`delete ${NEXT}`)) return;
      seen.deletion = true;
      kernel.setPoolMode(path, "read-only");
    });
    const again = await openWorld(world).catch(() => undefined);
    await again?.detach();
    if (seen.deletion) assert.equal(remembered(world).takenBack, 1);
  }
});
