import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inTransaction, openStoreFile } from "./store-file.ts";

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
