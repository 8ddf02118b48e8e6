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
import { Ledger, type NewDevice } from "./ledger.ts";

let folder: string;
let path: string;
let ledger: Ledger;

const POOL = {
  uuid: randomUUID(),
  backing: "files",
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
  };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thinpool-ledger-"));
  path = join(folder, "pool.sqlite");
  writeFileSync(path, "", { mode: 0o600 });
  ledger = Ledger.open(path);
  ledger.createPool(POOL, defaultPolicy(POOL));
});

afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

describe("what counts (INV-1)", () => {
  test("a creation counts from its transaction on, a deletion until its own", () => {
    const made = ledger.beginCreate(device("a"), transactionId(1));
    assert.equal(ledger.byName("a", transactionId(0)), undefined);
    assert.deepEqual(ledger.byName("a", transactionId(1)), made);
    ledger.beginDelete(made, transactionId(2));
    assert.equal(ledger.deviceCount(transactionId(1)), 1);
    assert.equal(ledger.deviceCount(transactionId(2)), 0);
    assert.deepEqual(ledger.unsettled(transactionId(1)).deletions.length, 1);
    assert.deepEqual(ledger.unsettled(transactionId(2)), { creations: [], deletions: [] });
  });

  test("the pool's record follows the last transaction, also back", () => {
    const sizes = { dataTargetBytes: POOL.dataBytes, metadataTargetBytes: POOL.metadataBytes };
    const expected = { ...POOL, ...sizes, state: "creating", lastTransactionId: 0n };
    assert.deepEqual(ledger.pool(), expected);
    ledger.markPoolCreated();
    const made = ledger.beginCreate(device("a"), transactionId(1));
    assert.equal(ledger.pool()?.lastTransactionId, 1n);
    ledger.undoCreate(made);
    assert.equal(ledger.pool()?.lastTransactionId, 0n);
    assert.equal(ledger.pool()?.state, "created");
  });

  test("each change is one commit", () => {
    const before = ledger.commits;
    const made = ledger.beginCreate(device("a"), transactionId(1));
    ledger.beginDelete(made, transactionId(2));
    assert.equal(ledger.commits - before, 2);
  });
});

describe("names and thin ids", () => {
  test("a name is taken until its deletion is settled, and free in the very next commit", () => {
    const made = ledger.beginCreate(device("a"), transactionId(1));
    assert.throws(
      () => ledger.beginCreate(device("a"), transactionId(2)),
      (error) => error instanceof PoolError && error.code === "DEVICE_EXISTS",
    );
    ledger.beginDelete(made, transactionId(2));
    const again = ledger.beginCreate(device("a"), transactionId(3));
    assert.notEqual(again.uuid, made.uuid);
  });

  test("ids are used again only after all above were, and foreign ones never", () => {
    const first = ledger.beginCreate(device("a"), transactionId(1));
    const second = ledger.beginCreate(device("b"), transactionId(2));
    assert.deepEqual([first.thinId, second.thinId], [0, 1]);
    ledger.beginDelete(first, transactionId(3));
    const third = ledger.passOverThinId(ledger.beginCreate(device("c"), transactionId(4)), 9);
    assert.equal(third.thinId, 3);
    // As if the ids above were used up: the gap that "a" left, then those after "c".
    ledger.close();
    const raw = new DatabaseSync(path);
    raw.exec(`UPDATE device SET thin_id = 16777215 WHERE name = 'c'`);
    raw.close();
    ledger = Ledger.open(path);
    const ids = [5, 6].map((n) => ledger.beginCreate(device(`x${n}`), transactionId(n)).thinId);
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
    back.exec("PRAGMA user_version = 1");
    back.close();
    ledger = Ledger.open(path);
  });

  test("keeps what was committed when the process dies without a close", () => {
    const made = ledger.beginCreate(device("a"), transactionId(1));
    const copy = join(folder, "copy.sqlite");
    for (const suffix of ["", "-wal"]) {
      writeFileSync(copy + suffix, readFileSync(path + suffix), { mode: 0o600 });
    }
    const survivor = Ledger.open(copy);
    assert.deepEqual(survivor.byName("a", transactionId(1)), made);
    survivor.close();
  });
});
