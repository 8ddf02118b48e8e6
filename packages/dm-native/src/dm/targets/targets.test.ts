import assert from "node:assert/strict";
import { test } from "node:test";
import { NativeError } from "../../errors.ts";
import { dataBlocks, sectors, thinId, transactionId } from "../../units.ts";
import type { DmTarget } from "../device-mapper.ts";
import { makeTarget, parseTargetStatus, parseTargetTable } from "./index.ts";
import type { TargetTable } from "./index.ts";
import { thinPoolFromParams, thinPoolFromStatus, thinPoolMessage } from "./thin-pool.ts";
import { thinFromStatus } from "./thin.ts";

const START = sectors(0);
const LENGTH = sectors(8192);

function target(type: string, params: string): DmTarget {
  return { startSectors: START, lengthSectors: LENGTH, type, params };
}

function parseFailure(attempt: () => unknown): NativeError {
  try {
    attempt();
  } catch (error) {
    assert.ok(error instanceof NativeError, String(error));
    assert.equal(error.code, "NATIVE_PARSE");
    return error;
  }
  throw new assert.AssertionError({ message: "nothing was thrown" });
}

/** Lines as dmsetup table prints them. */
const TABLES: readonly (readonly [string, string])[] = [
  ["linear", "8:16 2048"],
  ["striped", "2 128 7:0 0 7:1 64"],
  ["error", ""],
  ["zero", ""],
  ["flakey", "7:0 0 5 1"],
  ["flakey", "7:0 0 0 10 5 corrupt_bio_byte 32 r 1 0"],
  ["delay", "7:0 0 500"],
  ["delay", "7:0 0 500 7:1 8 100"],
  ["delay", "7:0 0 500 7:1 8 100 7:2 16 50"],
  ["thin", "254:2 16777215"],
  ["thin", "254:2 0 7:9"],
  ["thin-pool", "7:0 7:1 128 1024 0"],
  ["thin-pool", "7:0 7:1 512 8192 3 skip_block_zeroing ignore_discard error_if_no_space"],
  ["thin-pool", "7:0 7:1 512 8192 2 no_discard_passdown read_only"],
  ["thin-pool", "7:0 7:1 512 8192 1 a_feature_of_tomorrow"],
  ["crypt", "aes-xts-plain64 :64:logon:x 0 7:0 0"],
];

for (const [type, params] of TABLES) {
  test(`table line survives reading and printing: ${type} ${params}`, () => {
    const table: TargetTable = parseTargetTable(target(type, params));
    assert.deepEqual(makeTarget(START, LENGTH, table), target(type, params));
  });
}

test("a thin-pool line says what each word means", () => {
  assert.deepEqual(thinPoolFromParams("7:0 7:1 512 8192 2 skip_block_zeroing ignore_discard"), {
    type: "thin-pool",
    metadata: { major: 7, minor: 0 },
    data: { major: 7, minor: 1 },
    blockSectors: 512n,
    lowWater: 8192n,
    skipBlockZeroing: true,
    discard: "ignore",
    readOnly: false,
    errorIfNoSpace: false,
    otherFeatures: [],
  });
  assert.equal(thinPoolFromParams("7:0 7:1 512 8192").discard, "passdown");
});

const WORKING = "1 15/1024 3/4096 - rw discard_passdown queue_if_no_space - 1024";

test("thin-pool status: working, with all of its fields", () => {
  assert.deepEqual(thinPoolFromStatus(WORKING), {
    type: "thin-pool",
    state: "working",
    transactionId: 1n,
    usedMetadata: 15n,
    totalMetadata: 1024n,
    usedData: 3n,
    totalData: 4096n,
    heldMetadataRoot: undefined,
    mode: "rw",
    discard: "passdown",
    onNoSpace: "queue",
    needsCheck: false,
    metadataLowWater: 1024n,
  });
});

function read(line: string): Record<string, unknown> {
  return { ...thinPoolFromStatus(line) };
}

test("thin-pool status: sick pools, older and newer kernels", () => {
  assert.equal(read("Fail")["state"], "failed");
  assert.equal(read("Error")["state"], "error");
  const full = read(
    "18446744073709551615 15/1024 4096/4096 77 out_of_data_space no_discard_passdown error_if_no_space needs_check 1024",
  );
  assert.equal(full["transactionId"], 18446744073709551615n);
  assert.equal(full["mode"], "out_of_data_space");
  assert.equal(full["heldMetadataRoot"], 77n);
  assert.equal(full["onNoSpace"], "error");
  assert.equal(full["needsCheck"], true);
  const old = read("1 15/1024 3/4096 - ro ignore_discard queue_if_no_space");
  assert.equal(old["metadataLowWater"], undefined);
  assert.equal(old["needsCheck"], false);
  assert.equal(read(`${WORKING} some more fields`)["state"], "working");
});

test("thin status: mapped, empty, inactive, failed", () => {
  assert.deepEqual(thinFromStatus("256 255"), {
    type: "thin",
    state: "working",
    mappedSectors: 256n,
    highestMappedSector: 255n,
  });
  assert.deepEqual(thinFromStatus("0 -"), {
    type: "thin",
    state: "working",
    mappedSectors: 0n,
    highestMappedSector: undefined,
  });
  assert.equal(thinFromStatus("-").state, "inactive");
  assert.equal(thinFromStatus("Fail").state, "failed");
  assert.equal(thinFromStatus("Error").state, "error");
});

test("the other targets' status", () => {
  assert.deepEqual(parseTargetStatus(target("striped", "2 7:0 7:1 1 AD")), {
    type: "striped",
    stripes: [
      { device: { major: 7, minor: 0 }, alive: true },
      { device: { major: 7, minor: 1 }, alive: false },
    ],
  });
  assert.deepEqual(parseTargetStatus(target("delay", "1 2")), {
    type: "delay",
    reads: 1,
    writes: 2,
    flushes: undefined,
  });
  assert.deepEqual(parseTargetStatus(target("zero", "")), {
    type: "unknown",
    kernelType: "zero",
    line: "",
  });
});

test("a parse error names the field's index, its value, and what was expected", () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["linear", "sda 0", /field 0 is "sda", expected device \(MAJOR:MINOR\)/],
    ["linear", "8:0", /field 1 is missing, expected offset in sectors/],
    ["linear", "8:0 -1", /field 1 is "-1", expected offset in sectors \(a decimal number\)/],
    ["linear", "8:0 18446744073709551616", /field 1 is "18446744073709551616"/],
    ["linear", "8:0 1e3", /field 1 is "1e3"/],
    ["thin", "254:0 16777216", /field 1 is "16777216", expected thin id \(at most 16777215\)/],
    ["striped", "2 128 7:0 0", /field 4 is missing, expected stripe's device/],
    ["striped", "99999999 128", /field 0 is "99999999"/],
    ["thin-pool", "7:0 7:1 128 0 2 read_only", /field 6 is missing, expected feature/],
    ["flakey", "7:0 0 5", /field 3 is missing/],
    ["delay", "7:0 0 500 7:1", /field 4 is missing, expected write offset/],
  ];
  for (const [type, params, message] of cases) {
    const error = parseFailure(() => parseTargetTable(target(type, params)));
    assert.match(error.reason, message);
    assert.equal(error.object, JSON.stringify(params));
  }
  const mode = parseFailure(() => thinPoolFromStatus(WORKING.replace("rw", "wr")));
  assert.match(mode.reason, /field 4 is "wr", expected mode \(one of rw, ro, out_of_data_space\)/);
  const used = parseFailure(() => thinPoolFromStatus(WORKING.replace("15/1024", "15")));
  assert.match(used.reason, /field 1 is "15", expected metadata blocks \(USED\/TOTAL\)/);
  parseFailure(() => thinPoolFromStatus(""));
  parseFailure(() => thinFromStatus("256"));
});

test("messages of a pool, as the kernel's documentation writes them", () => {
  assert.equal(thinPoolMessage.createThin(thinId(0)), "create_thin 0");
  assert.equal(thinPoolMessage.createSnap(thinId(2), thinId(1)), "create_snap 2 1");
  assert.equal(thinPoolMessage.delete(thinId(7)), "delete 7");
  assert.equal(
    thinPoolMessage.setTransactionId(transactionId(1), transactionId(2)),
    "set_transaction_id 1 2",
  );
  assert.equal(thinPoolMessage.reserveMetadataSnap(), "reserve_metadata_snap");
  assert.equal(thinPoolMessage.releaseMetadataSnap(), "release_metadata_snap");
  assert.throws(() => thinId(-1), RangeError);
  assert.throws(() => thinId(16_777_216), RangeError);
  assert.throws(() => dataBlocks(-1), RangeError);
});
