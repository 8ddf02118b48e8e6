import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { acquire, confirm, release } from "./record.ts";
import { ReferenceStore } from "./store.ts";

test("records come back as they were saved, and a newer file is refused", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "thinpool-store-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "references.sqlite");
  const fresh = {
    deviceUuid: "u",
    deviceName: "one",
    ownerUid: 1000,
    target: "/m/1000/one",
    dmUuid: "THINPOOL-p-u",
  };
  const first = { id: "r1", holderUid: 1000, createdAtMs: 1 };
  const second = { id: "r2", holderUid: 0, createdAtMs: 2 };
  const mounting = acquire(undefined, first, fresh).record;
  const mounted = confirm(mounting, { mountId: 5, dev: "253:7" });
  const shared = acquire(mounted, second, fresh).record;
  {
    using store = new ReferenceStore(path);
    assert.deepEqual(store.load(), []);
    store.save(mounting);
    assert.deepEqual(store.load(), [mounting]);
    store.save(shared);
  }
  {
    using store = new ReferenceStore(path);
    assert.deepEqual(store.load(), [shared]);
    const { record } = release(shared, "r1");
    store.save(record);
    assert.deepEqual(store.load(), [record]);
    assert.throws(() => store.save({ ...shared, mountId: undefined }), /CHECK/);
    assert.deepEqual(store.load(), [record], "a refused save changes nothing");
    store.delete("u");
    assert.deepEqual(store.load(), []);
  }
  const database = new DatabaseSync(path);
  database.exec("PRAGMA user_version = 99");
  database.close();
  assert.throws(() => new ReferenceStore(path), /version 99/);
});
