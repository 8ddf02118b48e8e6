import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { PoolError, type PoolErrorCode } from "./errors.ts";
import { adoptPool } from "./health/adopt.ts";
import { destroyPool } from "./health/destroy.ts";
import { openPool } from "./open-pool.ts";
import type { ThinPool } from "./pool.ts";
import { Pool } from "./thin-pool.ts";

const SIZES = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
const DEVICE_BYTES = 16n << 20n;
const folders: string[] = [];

async function freshFolder(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-engine-"));
  folders.push(parent);
  return join(parent, "pool");
}

async function freshPool(): Promise<{ pool: ThinPool; kernel: SimKernel; folder: string }> {
  const folder = await freshFolder();
  const kernel = createSimKernel();
  const pool = await createPool({ folder, kernel, backing: SIZES });
  return { pool, kernel, folder };
}

function withCode(code: PoolErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PoolError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.reason.length > 0 && error.hint.length > 0);
    return true;
  };
}

after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describe("the life of a pool", () => {
  test("creates, snapshots, activates, removes, closes, opens again", async () => {
    const { pool, kernel, folder } = await freshPool();
    const { device: base } = await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
    assert.equal(base.filesystem, "ext4");
    assert.equal(base.active, false);
    const { device: clone } = await pool.snapshot({
      origin: "base",
      name: "clone",
      ownerUid: 1000,
    });
    assert.equal(clone.originUuid, base.uuid);
    assert.equal(clone.sizeBytes, DEVICE_BYTES);
    assert.deepEqual(pool.owned({ ownerUid: 1000 }), { devices: 1, sizeBytes: DEVICE_BYTES });
    assert.deepEqual(pool.owned({ ownerUid: 1001 }), { devices: 0, sizeBytes: 0n });
    assert.equal((await pool.activate({ name: "clone" })).outcome, "activated");
    assert.equal((await pool.activate({ name: "clone" })).outcome, "already-active");
    assert.equal(pool.get({ name: "clone" }).active, true);
    const status = await pool.status();
    assert.equal(status.state, "working");
    assert.equal(status.transactionId, 2n);
    assert.deepEqual([status.deviceCount, status.activeCount, status.backing], [2, 1, "loop"]);
    assert.equal((await pool.deactivate({ name: "clone" })).outcome, "deactivated");
    assert.equal((await pool.deactivate({ name: "clone" })).outcome, "already-inactive");
    assert.equal((await pool.remove({ name: "base" })).outcome, "removed");
    assert.equal(pool.owned({ ownerUid: 0 }).devices, 0);
    assert.deepEqual(
      pool.list().map((device) => device.name),
      ["clone"],
    );
    await pool.close();
    assert.deepEqual(await kernel.leftovers(), []);

    const again = await openPool({ folder, kernel });
    assert.equal(again.uuid, pool.uuid);
    assert.equal(again.has({ name: "base" }), false);
    assert.equal(again.get({ name: "clone" }).ownerUid, 1000);
    // The name of what was removed is free.
    await again.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
    await again.close();
    assert.deepEqual(await kernel.leftovers(), []);
  });

  test("the folder is shut for others, and so are its files", async () => {
    const { pool, folder } = await freshPool();
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    for (const name of await readdir(folder)) {
      assert.equal((await stat(join(folder, name))).mode & 0o077, 0, name);
    }
    await pool.close();
  });

  test("a snapshot that is activated costs one commit, two messages, three device ioctls", async () => {
    const { pool, kernel } = await freshPool();
    await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
    assert.ok(pool instanceof Pool);
    kernel.resetCalls();
    const commits = pool.commits;
    await pool.snapshot({ origin: "base", name: "clone", activate: true });
    assert.equal(pool.commits - commits, 1);
    assert.deepEqual(
      { ...kernel.calls },
      { DM_TARGET_MSG: 2, DM_DEV_CREATE: 1, DM_TABLE_LOAD: 1, DM_DEV_RESUME: 1 },
    );
    assert.equal(pool.get({ name: "clone" }).active, true);
    await pool.close();
  });

  test("refuses what can't be, and nothing has changed", async () => {
    const { pool, kernel, folder } = await freshPool();
    await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
    const { transactionId } = await pool.status();
    const name = "base";
    const exists = withCode("DEVICE_EXISTS");
    await assert.rejects(pool.createDevice({ name, sizeBytes: DEVICE_BYTES }), exists);
    await assert.rejects(pool.snapshot({ origin: "no", name: "x" }), withCode("DEVICE_NOT_FOUND"));
    await assert.rejects(pool.remove({ name: "a/b" }), withCode("POOL_NAME_INVALID"));
    await assert.rejects(
      pool.createDevice({ name: "x", sizeBytes: 1n }),
      withCode("POOL_OPTION_INVALID"),
    );
    await assert.rejects(
      pool.snapshot({ origin: name, name: "x", ownerUid: -1 }),
      withCode("POOL_OPTION_INVALID"),
    );
    await assert.rejects(openPool({ folder, kernel }), withCode("POOL_LOCKED"));
    assert.equal((await pool.status()).transactionId, transactionId);
    await pool.close();
    await assert.rejects(createPool({ folder, kernel, backing: SIZES }), withCode("POOL_EXISTS"));
    await assert.rejects(pool.activate({ name }), withCode("POOL_CLOSED"));
    assert.throws(() => pool.list(), withCode("POOL_CLOSED"));
    assert.throws(() => pool.get({ name }), withCode("POOL_CLOSED"));
  });

  test("a folder that others' files lie in is not shut for them", async () => {
    const folder = await freshFolder();
    await mkdir(folder);
    await mkdir(join(folder, "lost+found"));
    await writeFile(join(folder, "theirs"), "");
    await chmod(folder, 0o755);
    const kernel = createSimKernel();
    const modeOf = async (): Promise<number> => (await stat(folder)).mode & 0o777;
    const creation = { folder, kernel, backing: SIZES };
    await assert.rejects(createPool(creation), withCode("POOL_OPTION_INVALID"));
    assert.equal(await modeOf(), 0o755);
    assert.deepEqual((await readdir(folder)).toSorted(), ["lost+found", "theirs"]);
    // Its owner may do so.
    await chmod(folder, 0o700);
    await (await createPool(creation)).close();
    await destroyPool({ folder, kernel });
    // The root of a new filesystem is a pool's folder.
    await rm(join(folder, "theirs"));
    await chmod(folder, 0o755);
    await (await createPool(creation)).close();
    assert.equal(await modeOf(), 0o700);
  });

  test("storage is named by absolute paths, as another process will look it up", async () => {
    const { pool, kernel, folder } = await freshPool();
    const [dataPath, metadataPath] = ["/dev/sdb", "sdc"];
    kernel.addBlockDevice({ path: dataPath, sizeBytes: 64n << 20n });
    kernel.addBlockDevice({ path: metadataPath, sizeBytes: 4n << 20n });
    const relative = withCode("POOL_OPTION_INVALID");
    await assert.rejects(pool.createDevice({ name: "x", externalOrigin: metadataPath }), relative);
    const other = { folder: `${folder}-other`, kernel };
    const backing = { type: "block", dataPath, metadataPath } as const;
    await assert.rejects(createPool({ ...other, backing }), relative);
    await assert.rejects(adoptPool({ ...other, backing }), relative);
    await pool.close();
  });

  test("close and remove refuse what is in use before they take anything down", async () => {
    const { pool, kernel } = await freshPool();
    await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
    await pool.snapshot({ origin: "base", name: "used", activate: true });
    await pool.snapshot({ origin: "base", name: "idle", activate: true });
    const release = kernel.hold(pool.get({ name: "used" }).path);
    await assert.rejects(pool.close(), withCode("DEVICE_BUSY"));
    await assert.rejects(pool.remove({ name: "used" }), withCode("DEVICE_BUSY"));
    assert.deepEqual(
      pool.list().map((device) => [device.name, device.active]),
      [
        ["base", false],
        ["idle", true],
        ["used", true],
      ],
    );
    release();
    await pool.close();
    assert.deepEqual(await kernel.leftovers(), []);
  });

  test("a device whose dm device somebody removed is activated again, and can be an origin", async () => {
    const { pool, kernel } = await freshPool();
    await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
    const removeByHand = async (): Promise<void> => {
      const live = await kernel.dm.listDevices();
      const entry = live.find(({ name }) => name.endsWith("-dev-base"));
      assert.ok(entry !== undefined);
      await kernel.dm.removeDevice({ name: entry.name });
    };
    await pool.activate({ name: "base" });
    await removeByHand();
    assert.equal((await pool.activate({ name: "base" })).outcome, "activated");
    await removeByHand();
    await pool.snapshot({ origin: "base", name: "clone" });
    assert.equal(pool.get({ name: "base" }).active, false);
    await pool.close();
    assert.deepEqual(await kernel.leftovers(), []);
  });
});
