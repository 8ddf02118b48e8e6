import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, test } from "node:test";
import { transactionId } from "@thinpool/dm-native";
import { PoolError } from "../errors.ts";
import { deviceName } from "../names.ts";
import { defaultPolicy } from "../space/policy.ts";
import { MAX_JOURNAL_ENTRIES } from "./journal.ts";
import { type DeviceRecord, Ledger, type NewDevice } from "./ledger.ts";
import { SCHEMA_VERSION } from "./schema.ts";

let folder: string;
let path: string;
let ledger: Ledger;

const POOL = {
  uuid: randomUUID(),
  backing: "files",
  folder: "/pool",
  dataPath: "/pool/data",
  metadataPath: "/pool/metadata",
  dataBytes: 1n << 40n,
  metadataBytes: 1n << 30n,
  blockSectors: 512n,
  lowWaterBlocks: 8192n,
  discard: "passdown",
  createdAtMs: 1,
} as const;

function device(name: string): NewDevice {
  return {
    uuid: randomUUID(),
    name: deviceName(name),
    sizeBytes: 1n << 33n,
    filesystem: "ext4",
    originUuid: undefined,
    ownerUid: 1000,
    createdAtMs: 2,
    readOnly: false,
    labels: { role: "base" },
    externalOrigin: undefined,
    growing: false,
    filling: false,
  };
}

/** A group of one creation; throws what the ledger has against it. */
function create(wanted: NewDevice, next: number): DeviceRecord {
  const [outcome] = ledger.beginGroup(
    [{ creations: [wanted], deletions: [] }],
    transactionId(next),
  ).outcomes;
  if (outcome === undefined || outcome instanceof PoolError) throw outcome;
  const [record] = outcome;
  assert.ok(record !== undefined);
  return record;
}

function remove(record: DeviceRecord, next: number): void {
  ledger.beginGroup([{ creations: [], deletions: [record] }], transactionId(next));
}

/** Version and tables, indices and triggers by name, without their comments. */
function schemaOf(file: string): readonly unknown[] {
  const raw = new DatabaseSync(file);
  const version = raw.prepare("PRAGMA user_version").get();
  const rows = raw.prepare("SELECT name, sql FROM sqlite_master ORDER BY name").all();
  raw.close();
  const parts = rows.map(({ name, sql }) => [
    name,
    String(sql).replaceAll(/--.*/g, "").replaceAll(/\s+/g, " "),
  ]);
  return [version, ...parts];
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thinpool-ledger-"));
  path = join(folder, "pool.sqlite");
  writeFileSync(path, "", { mode: 0o600 });
  ledger = Ledger.open(path);
  ledger.createPool(POOL, defaultPolicy(POOL));
});

/** What is found by the index in memory is what the rows say. */
function checkIndex(): void {
  const keys = `thin_id, uuid, name, owner_uid, origin_uuid, size_bytes, transaction_id,
    deleting_transaction_id, filling`;
  const all = (table: string): readonly unknown[] =>
    ledger.db.all(`SELECT ${keys} FROM ${table} ORDER BY thin_id`);
  assert.deepEqual(all("device_index"), all("device"));
  const promised = ledger.db.get("SELECT coalesce(sum(size_bytes), 0) AS sum FROM device");
  assert.equal(ledger.space.promisedBytes(), promised?.["sum"]);
  for (let current = 0; current < 6; current += 1) {
    const counted = ledger.db.get(
      `SELECT count(*) AS n FROM device WHERE transaction_id <= ?1 AND filling = 0
         AND (deleting_transaction_id IS NULL OR deleting_transaction_id > ?1)`,
      current,
    );
    assert.equal(BigInt(ledger.deviceCount(transactionId(current))), counted?.["n"]);
  }
  const last = ledger.pool()?.lastTransactionId;
  ledger.close();
  ledger = Ledger.open(path);
  assert.equal(ledger.pool()?.lastTransactionId, last);
}

/**
 * How many pages of the file a commit writes: each is one frame of the WAL, which is begun anew now and then
 * (https://sqlite.org/fileformat2.html#walformat: the salts of its frames are then others).
 */
function pagesOf(commit: () => void): number {
  const [headerBytes, frameBytes] = [32, 24 + 4096];
  const log = (): { readonly salts: Buffer; readonly frames: number } => {
    const bytes = readFileSync(`${path}-wal`);
    const salts = bytes.subarray(16, 24);
    const isOfIt = (at: number): boolean => bytes.subarray(at + 8, at + 16).equals(salts);
    let frames = 0;
    while (isOfIt(headerBytes + frames * frameBytes)) frames += 1;
    return { salts, frames };
  };
  const before = log();
  commit();
  const after = log();
  return after.salts.equals(before.salts) ? after.frames - before.frames : after.frames;
}

afterEach(() => {
  checkIndex();
  ledger.close();
  rmSync(folder, { recursive: true });
});

describe("what counts (INV-1)", () => {
  test("a creation counts from its transaction on, a deletion until its own", () => {
    const made = create(device("a"), 1);
    assert.equal(ledger.byName("a", transactionId(0)), undefined);
    assert.deepEqual(ledger.byName("a", transactionId(1)), made);
    remove(made, 2);
    assert.equal(ledger.deviceCount(transactionId(1)), 1);
    assert.equal(ledger.deviceCount(transactionId(2)), 0);
    assert.deepEqual(ledger.unsettled(transactionId(1)).deletions.length, 1);
    assert.deepEqual(ledger.unsettled(transactionId(2)), { creations: [], deletions: [] });
  });

  test("what a user owns follows every commit, and the transaction that is asked about", () => {
    const owned = (uid: number, current: number): number =>
      ledger.owned(uid, transactionId(current)).devices;
    assert.equal(owned(1000, 0), 0);
    const made = create(device("a"), 1);
    assert.deepEqual([owned(1000, 0), owned(1000, 1), owned(1000, 0)], [0, 1, 0]);
    assert.deepEqual([owned(1000, 1), owned(1000, 1), owned(7, 1)], [1, 1, 0]);
    const given = ledger.updateDevice(made, { ownerUid: 7 }, transactionId(1));
    assert.deepEqual([owned(1000, 1), owned(7, 1)], [0, 1]);
    ledger.updateDevice(given, { sizeBytes: 1n << 34n }, transactionId(1));
    assert.equal(ledger.owned(7, transactionId(1)).sizeBytes, 1n << 34n);
  });

  test("the pool's record follows the last transaction, also back", () => {
    const sizes = { dataTargetBytes: POOL.dataBytes, metadataTargetBytes: POOL.metadataBytes };
    const expected = { ...POOL, ...sizes, state: "creating", lastTransactionId: 0n };
    assert.deepEqual(ledger.pool(), expected);
    ledger.markPoolCreated();
    const made = create(device("a"), 1);
    assert.equal(ledger.pool()?.lastTransactionId, 1n);
    ledger.dropIntents({ creations: [made], deletions: [] }, transactionId(1), true);
    assert.equal(ledger.pool()?.lastTransactionId, 0n);
    assert.equal(ledger.pool()?.state, "created");
  });

  test("the last transaction stays the last when the rows that named it go", () => {
    const kept = create(device("a"), 1);
    remove(create(device("b"), 2), 3);
    ledger.updateDevice(kept, { name: deviceName("c") }, transactionId(3));
    assert.deepEqual(
      ledger.rows().map(({ name }) => name),
      ["c"],
    );
    ledger.close();
    ledger = Ledger.open(path);
    assert.equal(ledger.pool()?.lastTransactionId, 3n);
  });

  test("a group that goes back leaves the last transaction of the one before it, also where that one's rows went", () => {
    remove(create(device("a"), 1), 2);
    const made = create(device("b"), 3);
    ledger.dropIntents({ creations: [made], deletions: [] }, transactionId(3), true);
    ledger.close();
    ledger = Ledger.open(path);
    assert.equal(ledger.pool()?.lastTransactionId, 2n);
  });

  test("a new device changes two pages, its own and its event's, however many there are", () => {
    for (const have of [100, 2000]) {
      const before = ledger.deviceCount(transactionId(1 << 30));
      const many = Array.from({ length: have - before }, (_, n) => device(`m${before + n}`));
      ledger.beginGroup([{ creations: many, deletions: [] }], transactionId(have));
      const pages = Array.from({ length: 31 }, (_, n) =>
        pagesOf(() => create(device(`x${have + n}`), have + 1 + n)),
      ).toSorted((a, b) => a - b);
      // A page that is full gets a neighbour, some of the time.
      assert.deepEqual([pages[0], pages[15]], [2, 2], String(pages));
      const sum = pages.reduce((all, one) => all + one, 0);
      assert.ok(sum <= 3 * pages.length, String(pages));
    }
  });

  test("each change is one commit", () => {
    const before = ledger.commits;
    const made = create(device("a"), 1);
    remove(made, 2);
    assert.equal(ledger.commits - before, 2);
  });
});

describe("a group", () => {
  test("is one commit; a member that can't be is left out, the others stand", () => {
    create(device("taken"), 1);
    const before = ledger.commits;
    const { outcomes } = ledger.beginGroup(
      ["a", "taken", "b"].map((name) => ({ creations: [device(name)], deletions: [] })),
      transactionId(2),
    );
    assert.equal(ledger.commits - before, 1);
    assert.deepEqual(
      outcomes.map((outcome) => (outcome instanceof PoolError ? outcome.code : outcome[0]?.name)),
      ["a", "DEVICE_EXISTS", "b"],
    );
    assert.deepEqual(
      ledger.devices(transactionId(2)).map(({ name }) => name),
      ["a", "b", "taken"],
    );
  });

  test("of members none of which can be uses no transaction and no commit", () => {
    create(device("taken"), 1);
    const before = ledger.commits;
    const intents = [{ creations: [device("taken")], deletions: [] }];
    const { outcomes, commit } = ledger.beginGroup(intents, transactionId(2));
    assert.equal(commit, undefined);
    const [outcome] = outcomes;
    assert.ok(outcome instanceof PoolError);
    assert.equal(ledger.commits, before);
    assert.equal(ledger.pool()?.lastTransactionId, 1n);
  });

  test("goes on without those that were taken out", () => {
    const old = create(device("old"), 1);
    const { outcomes } = ledger.beginGroup(
      [
        { creations: [device("a")], deletions: [] },
        { creations: [], deletions: [old] },
        { creations: [device("b")], deletions: [] },
      ],
      transactionId(2),
    );
    const [a] = outcomes[0] as readonly [DeviceRecord];
    ledger.dropIntents({ creations: [a], deletions: [old] }, transactionId(2), false);
    assert.equal(ledger.pool()?.lastTransactionId, 2n);
    assert.deepEqual(
      ledger.devices(transactionId(2)).map(({ name }) => name),
      ["b", "old"],
    );
  });
});

describe("a device to be filled (INV-12)", () => {
  test("does not count before it is, and is found by what opening looks for", () => {
    const made = create({ ...device("a"), filling: true }, 1);
    assert.equal(ledger.byName("a", transactionId(1)), undefined);
    assert.deepEqual(ledger.unfilled(transactionId(1)), [made]);
    const filled = ledger.finishFilling(made);
    assert.deepEqual(ledger.byName("a", transactionId(1)), filled);
    assert.deepEqual(ledger.unfilled(transactionId(1)), []);
  });

  test("gives its content to another in one commit, and takes that one's", () => {
    const kept = create(device("a"), 1);
    const made = create({ ...device("b"), filling: true, sizeBytes: 1n << 34n }, 2);
    const before = ledger.commits;
    const reverted = ledger.swapContent(kept, made);
    assert.equal(ledger.commits - before, 1);
    const { thinId, transactionId: madeAt } = made;
    assert.deepEqual(reverted, { ...kept, thinId, sizeBytes: 1n << 34n, transactionId: madeAt });
    assert.deepEqual(ledger.byName("a", transactionId(2)), reverted);
    const { thinId: oldId, sizeBytes } = kept;
    assert.deepEqual(ledger.unfilled(transactionId(2)), [{ ...made, thinId: oldId, sizeBytes }]);
  });
});

describe("what only the ledger knows", () => {
  test("is changed in one commit; a name that is taken is refused, a removed one's is free", () => {
    const made = create(device("a"), 1);
    const gone = create(device("b"), 2);
    create(device("c"), 3);
    remove(gone, 4);
    const now = transactionId(4);
    assert.throws(() => ledger.updateDevice(made, { name: deviceName("c") }, now), {
      code: "DEVICE_EXISTS",
    });
    const change = { name: deviceName("b"), ownerUid: 7, labels: { a: "b" }, readOnly: true };
    const changed = ledger.updateDevice(made, change, now);
    assert.deepEqual(ledger.byName("b", now), { ...made, ...change });
    assert.deepEqual(ledger.byUuid(made.uuid, now), changed);
  });

  test("the journal keeps the last entries, and never uses a number again", () => {
    const entry = { action: "undo-creation", object: "a", reason: "a test" };
    ledger.journal.append(
      Array.from({ length: MAX_JOURNAL_ENTRIES + 5 }, () => entry),
      7,
    );
    const entries = ledger.journal.entries();
    assert.equal(entries.length, MAX_JOURNAL_ENTRIES);
    assert.deepEqual(entries[0], { ...entry, number: 6, atMs: 7 });
  });
});

describe("names and thin ids", () => {
  test("a name is taken until its deletion is settled, and free in the very next commit", () => {
    const made = create(device("a"), 1);
    assert.throws(
      () => create(device("a"), 2),
      (error) => error instanceof PoolError && error.code === "DEVICE_EXISTS",
    );
    remove(made, 2);
    const again = create(device("a"), 3);
    assert.notEqual(again.uuid, made.uuid);
  });

  test("ids are used again only after all above were, and foreign ones never", () => {
    const first = create(device("a"), 1);
    const second = create(device("b"), 2);
    assert.deepEqual([first.thinId, second.thinId], [0, 1]);
    remove(first, 3);
    const third = ledger.passOverThinId(create(device("c"), 4), "it is there", 9);
    assert.equal(third.thinId, 3);
    // As if the ids above were used up: the gap that "a" left, then those after "c".
    ledger.close();
    const raw = new DatabaseSync(path);
    raw.exec(`UPDATE device SET thin_id = 16777215 WHERE name = 'c'`);
    raw.close();
    ledger = Ledger.open(path);
    const ids = [5, 6].map((n) => create(device(`x${n}`), n).thinId);
    assert.deepEqual(ids, [0, 3]);
  });
});

describe("the file", () => {
  test("is for its owner only, with no -shm beside it, and shut for a second writer (INV-9)", () => {
    assert.deepEqual(readdirSync(folder).toSorted(), ["pool.sqlite", "pool.sqlite-wal"]);
    for (const name of readdirSync(folder)) {
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
    }
    const other = new DatabaseSync(path, { timeout: 0 });
    assert.throws(() => other.exec("DELETE FROM device"), /locked/);
    other.close();
  });

  test("of another program or a later version is refused", () => {
    const foreign = join(folder, "foreign.sqlite");
    const raw = new DatabaseSync(foreign);
    raw.exec("PRAGMA application_id = 7; CREATE TABLE t (a)");
    raw.close();
    assert.throws(() => Ledger.open(foreign), /another program/);
    ledger.close();
    const later = new DatabaseSync(path);
    later.exec("PRAGMA user_version = 99");
    later.close();
    assert.throws(() => Ledger.open(path), /version 99/);
    const back = new DatabaseSync(path);
    back.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    back.close();
    ledger = Ledger.open(path);
  });

  test("of an earlier version is brought to this one, and keeps what it has", () => {
    const old = join(folder, "old.sqlite");
    const raw = new DatabaseSync(old);
    raw.exec(readFileSync(join(import.meta.dirname, "ledger-version-1.test.sql"), "utf8"));
    raw.close();
    const opened = Ledger.open(old);
    assert.equal(opened.byName("base", transactionId(1))?.sizeBytes, 1n << 33n);
    const [outcome] = opened.beginGroup(
      [{ creations: [device("next")], deletions: [] }],
      transactionId(2),
    ).outcomes;
    assert.ok(Array.isArray(outcome));
    opened.dropIntents({ creations: outcome, deletions: [] }, transactionId(2), true);
    assert.deepEqual([...opened.doubtfulThinIds().takenBack], [[1, 2n]]);
    opened.close();
    ledger.close();
    assert.deepEqual(schemaOf(old), schemaOf(path));
    ledger = Ledger.open(path);
  });

  test("keeps what was committed when the process dies without a close", () => {
    const made = create(device("a"), 1);
    const copy = join(folder, "copy.sqlite");
    for (const suffix of ["", "-wal"]) {
      writeFileSync(copy + suffix, readFileSync(path + suffix), { mode: 0o600 });
    }
    const survivor = Ledger.open(copy);
    assert.deepEqual(survivor.byName("a", transactionId(1)), made);
    survivor.close();
  });
});
