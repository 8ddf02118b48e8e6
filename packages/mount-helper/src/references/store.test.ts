import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { test } from "node:test";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import type { Reference } from "./holder.ts";
import { newLease } from "./holder.ts";
import type { NewMount } from "./record.ts";
import { acquire, confirm, release } from "./record.ts";
import { ReferenceStore } from "./store.ts";

const FRESH: NewMount = {
  id: "m1",
  deviceUuid: "u",
  deviceName: "one",
  owner: { uid: 1000, gid: 100 },
  dmUuid: "THINPOOL-p-u",
  place: "folder",
  namespace: 4_026_532_345,
  target: "/home/one",
  form: { readOnly: true, noExec: false, noSymFollow: true, ownership: "top-folder" },
  lazyAfterMs: 5_000,
  bootId: "b1",
};
const NOW = { wallMs: 1_000, bootMs: 10, bootId: "b1" };
const REFERENCES: readonly Reference[] = [
  { id: "r1", holderUid: 1000, holder: { type: "session", session: "s1" }, createdAtMs: 1 },
  { id: "r2", holderUid: 1000, holder: newLease(5_000, NOW), createdAtMs: 2 },
  { id: "r3", holderUid: 0, holder: { type: "permanent" }, createdAtMs: 3 },
];

test("all comes back as it was saved, and a newer file is refused", async (t) => {
  const folder = await mkdtemp(join(MEMORY_FOLDER, "thinpool-store-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "references.sqlite");
  const [first, second, third] = REFERENCES;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const mounting = acquire(undefined, first, FRESH).record;
  const mounted = confirm(mounting, { mountId: 5, dev: "253:7", bootId: "b2" });
  const shared = acquire(acquire(mounted, second, FRESH).record, third, FRESH).record;
  const session = { id: "s1", uid: 1000, secretSha256: "00", bootId: "b1" };
  const clone = { deviceName: "one", deviceUuid: undefined, session: "s1" };
  {
    using store = new ReferenceStore(path);
    assert.deepEqual([store.load(), store.loadSessions(), store.loadEphemerals()], [[], [], []]);
    store.save(mounting);
    assert.deepEqual(store.load(), [mounting]);
    store.save(shared);
    store.saveSession(session);
    store.saveEphemeral(clone);
    store.saveEphemeral({ ...clone, deviceUuid: "u", session: undefined });
  }
  {
    using store = new ReferenceStore(path);
    assert.deepEqual(store.load(), [shared]);
    assert.deepEqual(store.loadSessions(), [session]);
    const [ephemeral] = store.loadEphemerals();
    assert.deepEqual(ephemeral, { deviceName: "one", deviceUuid: "u", session: undefined });
    const { record } = release(shared, "r1");
    store.save(record);
    assert.deepEqual(store.load(), [record]);
    assert.throws(() => store.save({ ...shared, mountId: undefined }), /CHECK/);
    assert.deepEqual(store.load(), [record], "a refused save changes nothing");
    store.delete("m1");
    store.deleteSession("s1");
    store.deleteEphemeral("one");
    assert.deepEqual([store.load(), store.loadSessions(), store.loadEphemerals()], [[], [], []]);
  }
  const database = new DatabaseSync(path);
  database.exec("PRAGMA user_version = 99");
  database.close();
  assert.throws(() => new ReferenceStore(path), /version 99/);
});
