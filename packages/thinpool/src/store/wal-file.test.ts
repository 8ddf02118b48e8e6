import assert from "node:assert/strict";
import fs, {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { after, test } from "node:test";
import { transactionId } from "@thinpool/dm-native";
import { EventLog } from "../events/event-log.ts";
import { LedgerCommitError } from "./commit-error.ts";
import { heldSyncs } from "./held-syncs.test.support.ts";
import { Ledger } from "./ledger.ts";
import { WalFile } from "./wal-file.ts";

const folder = mkdtempSync(join(tmpdir(), "thinpool-wal-"));
after(() => rmSync(folder, { recursive: true }));

function database(name: string): DatabaseSync {
  const made = new DatabaseSync(join(folder, name));
  made.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
  return made;
}

test("a commit is read at once, and lasts once its log was synced", async () => {
  using syncs = heldSyncs();
  using db = database("lasts");
  using wal = new WalFile(db);
  const synchronous = (): unknown => db.prepare("PRAGMA synchronous").get()?.["synchronous"];
  wal.unsynced(() => assert.equal(synchronous(), 1));
  assert.equal(synchronous(), 2);
  let lasts = false;
  const sync = wal.sync().then(() => (lasts = true));
  await setImmediate();
  assert.deepEqual([syncs.paths, lasts], [[join(folder, "lasts-wal")], false]);
  syncs.release();
  await sync;
  assert.ok(lasts);
});

test("the log has its size from the beginning, and no commit changes it; a crash's copy reads the same", () => {
  using db = database("size");
  using wal = new WalFile(db);
  const path = join(folder, "size");
  const sizes = new Set([statSync(`${path}-wal`).size]);
  const insert = db.prepare("INSERT INTO t VALUES (?)");
  for (let number = 0; number < 1000; number += 1) {
    if (number % 2 === 0) wal.unsynced(() => void insert.run(number));
    else insert.run(number);
    sizes.add(statSync(`${path}-wal`).size);
  }
  assert.deepEqual([...sizes], [32 + (256 + 64) * (24 + 4096)]);
  for (const end of ["", "-wal"]) copyFileSync(path + end, join(folder, `copy${end}`));
  using copy = new DatabaseSync(join(folder, "copy"));
  const count = copy.prepare("SELECT count(*) AS n FROM t").get();
  assert.equal(count?.["n"], 1000);
});

/** What writeSync of node:fs throws until it is disposed of. */
function failingWrites(code: "ENOSPC" | "EIO"): Disposable {
  const { writeSync } = fs;
  const replace = (by: unknown): void => {
    Reflect.set(fs, "writeSync", by);
    syncBuiltinESMExports();
  };
  replace(() => {
    throw Object.assign(new Error(code), { code });
  });
  return { [Symbol.dispose]: () => replace(writeSync) };
}

test("a log for which there is no room yet grows with its commits", () => {
  using db = database("no-room");
  const size = (): number => statSync(join(folder, "no-room-wal")).size;
  const before = size();
  const open = (code: "ENOSPC" | "EIO"): WalFile => {
    using _ = failingWrites(code);
    return new WalFile(db);
  };
  const files = readdirSync("/proc/self/fd").length;
  assert.throws(() => open("EIO"), { code: "EIO" });
  assert.equal(readdirSync("/proc/self/fd").length, files, "no descriptor is left");
  using wal = open("ENOSPC");
  assert.equal(size(), before);
  wal.unsynced(() => db.exec("INSERT INTO t VALUES (1)"));
  assert.equal(size(), before + 24 + 4096);
});

test("it closes its descriptor once, and not what has the number afterwards", () => {
  using db = database("closed");
  const wal = new WalFile(db);
  wal[Symbol.dispose]();
  const other = fs.openSync("/dev/null", "r");
  assert.equal(other, wal.file?.fd);
  wal[Symbol.dispose]();
  fs.closeSync(other);
});

test("after a sync that failed nothing is said to last", async () => {
  using syncs = heldSyncs();
  using db = database("fails");
  using wal = new WalFile(db);
  const [first, second] = [wal.sync(), wal.sync()];
  await setImmediate();
  syncs.fail("EIO");
  // The kernel tells a descriptor of it once.
  syncs.release();
  await assert.rejects(first, LedgerCommitError);
  await assert.rejects(second, LedgerCommitError);
  await assert.rejects(wal.sync(), LedgerCommitError);
  assert.throws(() => wal.unsynced(() => undefined), LedgerCommitError);
  assert.equal(syncs.paths.length, 2, "the disk was not asked again");
});

function ledgerWithLog(name: string): { readonly ledger: Ledger; readonly log: EventLog } {
  const path = join(folder, `${name}.sqlite`);
  writeFileSync(path, "");
  const ledger = Ledger.open(path);
  const log = new EventLog({
    table: ledger.events,
    current: () => transactionId(1),
    failed: (error) => assert.fail(String(error)),
  });
  return { ledger, log };
}

test("an event is not told before its commit lasts", async () => {
  using syncs = heldSyncs();
  const { ledger, log } = ledgerWithLog("events");
  const from = log.last;
  log.note({ body: { type: "removal-unfinished", name: "a", reason: "one" } });
  const first = ledger.db.writeUnsynced("first", () => undefined);
  assert.equal(log.last, from, "it may yet be lost");
  log.note({ body: { type: "removal-unfinished", name: "b", reason: "two" } });
  const second = ledger.db.writeUnsynced("second", () => undefined);
  first.synced();
  assert.equal(log.last, from + 1);
  const sync = second.sync();
  await setImmediate();
  syncs.release();
  await sync;
  assert.equal(log.last, from + 2);
  log.note({ body: { type: "removal-unfinished", name: "c", reason: "three" } });
  const third = ledger.db.writeUnsynced("third", () => undefined);
  assert.equal(log.last, from + 2);
  ledger.db.write("a whole one", () => undefined);
  assert.equal(log.last, from + 3, "its sync was of all");
  third.synced();
  log.close();
  ledger.close();
});

test("an event whose commit's sync failed is not told by a later commit", async () => {
  using syncs = heldSyncs();
  const { ledger, log } = ledgerWithLog("untold");
  const from = log.last;
  log.note({ body: { type: "removal-unfinished", name: "a", reason: "one" } });
  const sync = ledger.db.writeUnsynced("first", () => undefined).sync();
  await setImmediate();
  syncs.fail("EIO");
  await assert.rejects(sync, LedgerCommitError);
  assert.throws(() => ledger.db.write("a whole one", () => undefined), LedgerCommitError);
  assert.equal(log.last, from, "it may be lost with the power");
  log.close();
  ledger.close();
});
