/** Loops that a close or a check left because somebody (a udev rule) had them open. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { checkPool } from "./health/check-closed.ts";
import { openPool } from "./open-pool.ts";

const SIZES = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
let parent: string;

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "thinpool-backing-"));
});

after(() => rm(parent, { recursive: true }));

/** Lets go of what is held when the loops were looked for: between the look and the use. */
function letGoAfterLook(kernel: SimKernel, releases: readonly (() => void)[]): void {
  const stop = kernel.onCall(({ phase, operation }) => {
    if (phase !== "after" || operation !== "LOOP_LIST") return;
    stop();
    for (const release of releases) release();
  });
}

test("a pool is opened again while the loops of its close are about to go", async () => {
  const kernel = createSimKernel();
  const folder = await mkdtemp(join(parent, "pool-"));
  const pool = await createPool({ folder, kernel, backing: SIZES, monitor: false });
  const releases = (await kernel.loops.list()).map(({ path }) => kernel.hold(path));
  await pool.close();
  assert.equal((await kernel.loops.list()).length, 2);
  letGoAfterLook(kernel, releases);
  const again = await openPool({ folder, kernel, monitor: false });
  assert.ok((await kernel.loops.list()).every(({ autoclear }) => !autoclear));
  await again.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a pool is opened right after a check whose loop somebody still has open", async () => {
  const kernel = createSimKernel();
  const folder = await mkdtemp(join(parent, "pool-"));
  await (await createPool({ folder, kernel, backing: SIZES, monitor: false })).close();
  const releases: (() => void)[] = [];
  const stop = kernel.onCall(({ phase, operation, object }) => {
    if (phase === "before" && operation === "thin_check") releases.push(kernel.hold(object));
  });
  await checkPool({ folder, kernel });
  stop();
  assert.equal((await kernel.loops.list()).length, 1);
  letGoAfterLook(kernel, releases);
  const pool = await openPool({ folder, kernel, monitor: false });
  await pool.close();
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a loop that stays although it is to go is taken over as it is", async () => {
  const kernel = createSimKernel();
  const folder = await mkdtemp(join(parent, "pool-"));
  const pool = await createPool({ folder, kernel, backing: SIZES, monitor: false });
  // By hand, while the pool has them open.
  for (const { path } of await kernel.loops.list()) await kernel.loops.detach(path);
  await pool.detach();
  const again = await openPool({ folder, kernel, monitor: false });
  await again.close();
  assert.deepEqual(await kernel.leftovers(), []);
});
