/** A pool's folder that was copied or moved: its ledger still names the files and devices of the first. */
import assert from "node:assert/strict";
import { cpSync, existsSync, linkSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { createPool } from "./create-pool.ts";
import { adoptPool } from "./health/adopt.ts";
import { checkPool } from "./health/check-closed.ts";
import { readClosedPool } from "./health/closed-records.ts";
import { destroyPool } from "./health/destroy.ts";
import {
  blockWorld,
  freshWorld,
  removeFolders,
  withCode,
} from "./health/health-world.test.support.ts";
import { repairPool } from "./health/repair.ts";
import { restorePool } from "./health/restore.ts";
import { openPool } from "./open-pool.ts";
import { planRecovery } from "./plan-recovery.ts";

after(removeFolders);

const copied = withCode("POOL_MISMATCH", /copied or moved from/);

/** What an earlier version left: it did not say where it belongs. */
function forgetFolder(folder: string): void {
  const raw = new DatabaseSync(join(folder, "pool.sqlite"));
  raw.exec("UPDATE pool SET folder = NULL");
  raw.close();
}

for (const [what, world] of [
  ["files", freshWorld],
  ["block devices", blockWorld],
] as const) {
  test(`a copy of a pool on ${what} does not drive it, and destroying the copy harms nothing`, async () => {
    const { folder, kernel, pool } = await world();
    await pool.backup();
    const copy = `${folder}-copy`;
    cpSync(folder, copy, { recursive: true });
    const options = { folder: copy, kernel };
    await assert.rejects(openPool(options), copied);
    await assert.rejects(destroyPool(options), copied);
    assert.equal((await pool.status()).state, "working");
    await pool.close();
    const spareDevice = what === "files" ? {} : { spareDevice: "/dev/spare" };
    for (const call of [
      () => openPool(options),
      () => planRecovery(options),
      () => checkPool(options),
      () => repairPool({ ...options, ...spareDevice }),
      () => restorePool({ ...options, ...spareDevice }),
      () => destroyPool(options),
    ]) {
      await assert.rejects(call(), copied);
    }
    assert.equal((await readClosedPool(options)).devices.length, 1);
    const again = await openPool({ folder, kernel });
    assert.deepEqual((await again.check()).findings, []);
    await again.close();
    assert.deepEqual(await kernel.leftovers(), []);
  });
}

test("nor does a copy of an earlier version's ledger, alone in its folder", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  forgetFolder(folder);
  const copy = `${folder}-copy`;
  mkdirSync(copy);
  cpSync(join(folder, "pool.sqlite"), join(copy, "pool.sqlite"));
  await assert.rejects(destroyPool({ folder: copy, kernel }), copied);
  await (await openPool({ folder, kernel })).close();
});

test("nor does a copy whose files are the first one's by another name", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  const copy = `${folder}-copy`;
  mkdirSync(copy);
  for (const name of readdirSync(folder)) linkSync(join(folder, name), join(copy, name));
  await assert.rejects(openPool({ folder: copy, kernel }), copied);
  await assert.rejects(destroyPool({ folder: copy, kernel }), copied);
  await (await openPool({ folder, kernel })).close();
});

test("a copy of a pool that was never made whole takes nothing from the first", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  const raw = new DatabaseSync(join(folder, "pool.sqlite"));
  raw.exec("UPDATE pool SET state = 'creating'");
  raw.close();
  cpSync(folder, `${folder}-copy`, { recursive: true });
  await assert.rejects(createPool({ folder: `${folder}-copy`, kernel }), copied);
  assert.ok(existsSync(join(folder, "data")));
});

test("a ledger that was moved is the pool's own, until another pool has taken its place", async () => {
  const { folder, kernel, pool } = await blockWorld();
  await pool.close();
  const moved = `${folder}-moved`;
  renameSync(folder, moved);
  await (await openPool({ folder: moved, kernel })).close();
  // It belongs there from now on.
  kernel.addBlockDevice({ path: "/dev/sdd", sizeBytes: 64n << 20n });
  const backing = { type: "block", dataPath: "/dev/sdd", metadataPath: "/dev/spare" } as const;
  await (await createPool({ folder, kernel, backing })).close();
  await (await openPool({ folder: moved, kernel })).close();

  const files = await freshWorld();
  await files.pool.close();
  const options = { folder: `${files.folder}-moved`, kernel: files.kernel };
  renameSync(files.folder, options.folder);
  // It names its files where they were.
  const movedFrom = withCode("POOL_MISMATCH", /moved from .* where its files are looked for/);
  await assert.rejects(openPool(options), movedFrom);
  await assert.rejects(destroyPool(options), movedFrom);
  renameSync(options.folder, files.folder);
  await (await openPool({ folder: files.folder, kernel: files.kernel })).close();
  renameSync(files.folder, options.folder);
  await (await createPool({ folder: files.folder, kernel: files.kernel })).close();
  await assert.rejects(destroyPool(options), copied);
  await (await openPool({ folder: files.folder, kernel: files.kernel })).close();
});

test("a pool that has its ledger beside it is not adopted into a second one", async () => {
  const { folder, kernel, pool } = await freshWorld();
  await pool.close();
  const [dataPath, metadataPath] = [join(folder, "data"), join(folder, "metadata")];
  const adoption = { kernel, backing: { type: "files", dataPath, metadataPath } } as const;
  const second = `${folder}-second`;
  await assert.rejects(
    adoptPool({ ...adoption, folder: second }),
    withCode("POOL_MISMATCH", /belongs to the pool of/),
  );
  assert.equal(existsSync(second), false);
  renameSync(join(folder, "pool.sqlite"), join(folder, "lost"));
  const { pool: adopted } = await adoptPool({ ...adoption, folder: second });
  await adopted.close();
  // A copy of the adopted one's ledger, whose files never lay beside it.
  cpSync(second, `${second}-copy`, { recursive: true });
  await assert.rejects(destroyPool({ folder: `${second}-copy`, kernel }), copied);
});
