import assert from "node:assert/strict";
import fs, { cpSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { KEY_LIFETIME_MS, MAX_KEYS_PER_UID } from "@thinpool/protocol";
import { WalFile } from "@thinpool/thinpool";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import { KeyStore, MAX_SOON, PRUNE_STEP } from "./key-store.ts";

const CALL = "0".repeat(64);

function replaceSync(by: unknown): void {
  Reflect.set(fs, "fdatasync", by);
  syncBuiltinESMExports();
}

test("what was begun and what was done is there after a restart", async (t) => {
  const folder = await mkdtemp(join(MEMORY_FOLDER, "thinpool-keys-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "keys.sqlite");
  {
    using store = new KeyStore(path);
    store.begin({ uid: 1, key: "a", callSha256: CALL }, "1");
    store.begin({ uid: 1, key: "b", callSha256: CALL }, "2");
    await store.doneTogether({ uid: 1, key: "b", callSha256: CALL }, "{}");
    const c = { uid: 1, key: "c", callSha256: CALL };
    store.begin(c, "3");
    store.forget(c, assert.ifError);
  }
  using store = new KeyStore(path);
  const a = { uid: 1, key: "a", callSha256: CALL };
  assert.deepEqual(store.begun(), [{ ...a, state: "begun", evidence: "1" }]);
  assert.deepEqual(store.find(1, "b"), { ...a, key: "b", state: "done", outcome: "{}" });
  assert.equal(store.find(1, "c"), undefined);
  assert.equal(store.find(2, "a"), undefined, "another user's key is another key");
});

test("a clock that was set back does not make the newest keys the oldest", async () => {
  const HOUR_MS = 3_600_000;
  let now = 1_000_000_000;
  using store = new KeyStore(":memory:", () => now);
  const done = (key: string): Promise<void> =>
    store.doneTogether({ uid: 1, key, callSha256: CALL }, "{}");
  for (let index = 0; index < MAX_KEYS_PER_UID; index += 1) {
    now += 1;
    await done(`before-${index}`);
  }
  now -= HOUR_MS;
  for (let index = 0; index < PRUNE_STEP; index += 1) {
    now += 1;
    await done(`after-${index}`);
  }
  assert.equal(store.find(1, "after-0")?.state, "done");
  assert.equal(store.find(1, "before-0"), undefined);
  assert.equal(store.find(1, `before-${PRUNE_STEP}`)?.state, "done");
});

test("keys go when they are too old or too many; what is being done stays", async () => {
  let now = 1_000_000;
  using store = new KeyStore(":memory:", () => now);
  store.begin({ uid: 1, key: "begun", callSha256: CALL }, "1");
  await store.doneTogether({ uid: 1, key: "old", callSha256: CALL }, "{}");
  await store.doneTogether({ uid: 2, key: "other", callSha256: CALL }, "{}");
  for (let index = 0; index < MAX_KEYS_PER_UID + PRUNE_STEP; index += 1) {
    now += 1;
    await store.doneTogether({ uid: 1, key: `k${index}`, callSha256: CALL }, "{}");
  }
  assert.equal(store.find(1, "old"), undefined);
  assert.notEqual(store.find(1, "begun"), undefined);
  assert.notEqual(store.find(1, `k${PRUNE_STEP}`), undefined);
  assert.notEqual(store.find(2, "other"), undefined);
  now += KEY_LIFETIME_MS;
  assert.equal(store.find(1, `k${PRUNE_STEP}`), undefined);
  assert.equal(store.begun().length, 1);
});

test("what is asked for in one turn is done together, and there when it resolves", async () => {
  using store = new KeyStore(":memory:");
  const keys = ["a", "b", "c"];
  const all = keys.map((key) => store.doneTogether({ uid: 1, key, callSha256: CALL }, "{}"));
  assert.equal(store.find(1, "a"), undefined, "not before the turn's end");
  await all[0];
  for (const key of keys) assert.equal(store.find(1, key)?.state, "done");
});

test("what is asked for together lasts when it resolves, and no sooner", async (t) => {
  const folder = await mkdtemp(join(MEMORY_FOLDER, "thinpool-keys-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  using store = new KeyStore(join(folder, "keys.sqlite"));
  const { promise: asked, resolve: ask } = Promise.withResolvers<() => void>();
  const { fdatasync } = fs;
  t.after(() => replaceSync(fdatasync));
  replaceSync((_fd: number, done: (error: null) => void) => ask(() => done(null)));
  let lasts = false;
  const used = { uid: 1, key: "a", callSha256: CALL };
  const begun = store.beginTogether(used, "1").then(() => (lasts = true));
  const release = await asked;
  await setImmediate();
  assert.equal(store.find(1, "a")?.state, "begun");
  assert.equal(lasts, false, "the log is not synced yet");
  release();
  await begun;
});

test("what is done soon is known at once, and on disk when it is settled", async (t) => {
  const folder = await mkdtemp(join(MEMORY_FOLDER, "thinpool-keys-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  using store = new KeyStore(join(folder, "keys.sqlite"));
  // A copy, as the store keeps everybody else out of its file.
  const onDisk = (): number => {
    const copy = `${folder}-copy`;
    cpSync(folder, copy, { recursive: true });
    t.after(() => rm(copy, { recursive: true, force: true }));
    using reader = new DatabaseSync(join(copy, "keys.sqlite"));
    return Number(reader.prepare("SELECT count(*) AS n FROM keys").get()?.["n"]);
  };
  const failed = (error: unknown): never => assert.fail(String(error));
  assert.equal(store.settled(), undefined);
  for (const key of ["a", "b"]) store.doneSoon({ uid: 1, key, callSha256: CALL }, "{}", failed);
  assert.equal(store.find(1, "a")?.state, "done");
  assert.equal(onDisk(), 0);
  await store.settled();
  assert.equal(store.settled(), undefined);
  assert.equal(onDisk(), 2);
  assert.equal(store.find(1, "a")?.state, "done");
});

test("what is done soon is written together, without anybody who waits for it", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  using store = new KeyStore(":memory:");
  const sync = t.mock.method(WalFile.prototype, "sync");
  const commits = (): number => sync.mock.callCount();
  const done = (key: string): void =>
    store.doneSoon({ uid: 1, key, callSha256: CALL }, "{}", assert.ifError);
  for (const key of ["a", "b"]) done(key);
  await quiet();
  assert.equal(commits(), 0);
  t.mock.timers.tick(50);
  await quiet();
  assert.equal(commits(), 1);
  for (let index = 0; index < MAX_SOON; index += 1) done(String(index));
  await quiet();
  assert.equal(commits(), 2);
});

test("a key that is free again is so on disk by when it is settled, with what was done before", async (t) => {
  using store = new KeyStore(":memory:");
  const ends: (() => void)[] = [];
  t.mock.method(WalFile.prototype, "sync", () => new Promise<void>((end) => ends.push(end)));
  const used = { uid: 1, key: "a", callSha256: CALL };
  store.begin(used, "1");
  store.doneSoon({ ...used, key: "b" }, "{}", assert.ifError);
  // The one that was done is on its way.
  void store.settled();
  store.forget(used, assert.ifError);
  assert.equal(store.find(1, "a"), undefined);
  let isSettled = false;
  const settled = store.settled()?.then(() => (isSettled = true));
  for (const syncs of [1, 2]) {
    await quiet();
    assert.deepEqual([ends.length, isSettled], [syncs, false]);
    ends.at(-1)?.();
  }
  await settled;
  assert.equal(store.settled(), undefined);
});

test("who hears that it could not be written is told once, and nobody waits for ever", async () => {
  const store = new KeyStore(":memory:");
  const errors: unknown[] = [];
  store.doneSoon({ uid: 1, key: "a", callSha256: CALL }, "{}", (error) => errors.push(error));
  store.close();
  await store.settled();
  assert.equal(errors.length, 1);
  assert.equal(store.settled(), undefined);
});

/** Until what was set off has come to its end. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await setImmediate();
}
