import assert from "node:assert/strict";
import fs, { copyFileSync, existsSync, readlinkSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { withHeldSyncs } from "./held-syncs.test.support.ts";
import { StoreFile, inTransaction, openStoreFile } from "./store-file.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "thinpool-store-"));
});
after(() => rm(folder, { recursive: true }));

const ONE = { version: 1, create: "CREATE TABLE t (a TEXT) STRICT;" };
const THREE = {
  version: 3,
  create: "CREATE TABLE t (a TEXT, b TEXT, c TEXT) STRICT;",
  upgrades: { 2: "ALTER TABLE t ADD COLUMN b TEXT;", 3: "ALTER TABLE t ADD COLUMN c TEXT;" },
};

test("an older file is brought up to date, step by step, and keeps what it holds", () => {
  const path = join(folder, "old");
  const old = openStoreFile(path, ONE);
  old.exec("INSERT INTO t VALUES ('kept')");
  old.close();
  const now = openStoreFile(path, THREE);
  assert.deepEqual({ ...now.prepare("SELECT * FROM t").get() }, { a: "kept", b: null, c: null });
  now.close();
  openStoreFile(path, THREE).close();
});

test("a newer file, and one from which no way leads, are refused as they are", () => {
  const path = join(folder, "new");
  openStoreFile(path, THREE).close();
  assert.throws(() => openStoreFile(path, ONE), /has version 3, this thinpoold knows 1/);
  const first = join(folder, "first");
  openStoreFile(first, ONE).close();
  const gap = { ...THREE, upgrades: { 3: THREE.upgrades[3] } };
  assert.throws(() => openStoreFile(first, gap), /no way from version 1/);
  const unchanged = openStoreFile(first, ONE);
  assert.deepEqual(unchanged.prepare("SELECT * FROM t").all(), []);
  unchanged.close();
});

test("a transaction that throws leaves nothing", () => {
  const database = openStoreFile(join(folder, "half"), ONE);
  const failing = (): void => {
    inTransaction(database, () => {
      database.exec("INSERT INTO t VALUES ('half')");
      throw new Error("in the middle");
    });
  };
  assert.throws(failing, /in the middle/);
  assert.deepEqual(database.prepare("SELECT * FROM t").all(), []);
  database.close();
});

/** Writes a row, and waits for it. */
async function put(file: StoreFile, value: string): Promise<void> {
  file.write(() => file.database.prepare("INSERT INTO t VALUES (?)").run(value));
  await file.lasting();
}

const count = (file: StoreFile): unknown =>
  file.database.prepare("SELECT count(*) AS n FROM t").get()?.["n"];

test("what is written is read at once, and changes of the same moment share a sync", async () => {
  using file = new StoreFile(join(folder, "lasting"), ONE);
  const look = (): unknown => count(file);
  const { syncs } = await withHeldSyncs({ of: "lasting", look }, async () => {
    const all = ["a", "b", "c"].map((value) => put(file, value));
    assert.equal(count(file), 3);
    await Promise.all(all);
  });
  assert.equal(syncs, 1);
  const again = await withHeldSyncs({ of: "lasting", look: () => 0 }, async () => {
    const first = put(file, "d");
    await new Promise(setImmediate);
    // The first one's may have begun before these were written.
    await Promise.all([first, put(file, "e"), put(file, "f")]);
  });
  assert.equal(again.syncs, 2);
  assert.throws(() => file.write(() => assert.fail("in the middle")), /in the middle/);
  assert.equal(count(file), 6);
});

test("after a sync that failed nothing is written; what waits for a file that is closed lasts", async () => {
  const file = new StoreFile(join(folder, "failed"), ONE);
  file.assertSound();
  const options = { of: "failed", look: () => 0 };
  const failed = await withHeldSyncs({ ...options, failing: 1 }, () => put(file, "a"));
  assert.equal(failed.outcome.status, "rejected");
  assert.throws(() => file.write(() => undefined), /the commit to .*failed-wal failed/);
  assert.throws(() => file.assertSound(), /the commit to .*failed-wal failed/);
  await assert.rejects(file.lasting(), /the commit to .*failed-wal failed/);
  file.close();
  const again = new StoreFile(join(folder, "failed"), ONE);
  const closed = await withHeldSyncs(options, async () => {
    const first = put(again, "b");
    await new Promise(setImmediate);
    const second = put(again, "c");
    again.close();
    await Promise.all([first, second]);
  });
  assert.deepEqual([closed.outcome.status, closed.syncs], ["fulfilled", 1]);
});

test("what a process that died left written lasts before it is read, and a new log's name does", () => {
  const file = new StoreFile(join(folder, "died"), ONE);
  file.write(() => file.database.exec("INSERT INTO t VALUES ('left')"));
  const left = join(folder, "left");
  for (const end of ["", "-wal"]) copyFileSync(join(folder, `died${end}`), `${left}${end}`);
  file.close();
  const { fsyncSync } = fs;
  const synced: string[] = [];
  const replace = (by: unknown): void => {
    Reflect.set(fs, "fsyncSync", by);
    syncBuiltinESMExports();
  };
  replace((fd: number) => {
    synced.push(readlinkSync(`/proc/self/fd/${fd}`));
    fsyncSync(fd);
  });
  try {
    {
      using again = new StoreFile(left, ONE);
      assert.deepEqual(synced, [`${left}-wal`, folder]);
      assert.equal(count(again), 1);
    }
    assert.equal(existsSync(`${left}-wal`), false, "a close leaves no log");
    using anew = new StoreFile(left, ONE);
    assert.deepEqual(synced.splice(2), [`${left}-wal`, folder]);
    assert.equal(count(anew), 1);
  } finally {
    replace(fsyncSync);
  }
});
