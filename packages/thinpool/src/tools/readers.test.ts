/** What the tools print, of both versions: text taken from thin-provisioning-tools 0.9 and 1.x. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readDelta } from "./delta-reader.ts";
import { readDump } from "./dump-reader.ts";
import { readListLine } from "./list-reader.ts";

const DUMP = `<superblock uuid="" time="3" transaction="5" flags="0" version="2" data_block_size="128" nr_data_blocks="1024">
  <device dev_id="7" mapped_blocks="10" transaction="3" creation_time="1" snap_time="1">
    <range_mapping origin_begin="0" data_begin="0" length="8" time="0"/>
    <single_mapping origin_block="30" data_block="11" time="1"/>
    <single_mapping origin_block="8" data_block="10" time="1"/>
  </device>
  <device dev_id="0" mapped_blocks="0" transaction="0" creation_time="0" snap_time="1">
  </device>
</superblock>
`;

/** 1.x prints what several devices share once, and may add attributes. */
const SHARED = `<superblock uuid="" time="1" transaction="2" version="2" data_block_size="256" nr_data_blocks="64" news="1">
  <def name="2"><range_mapping origin_begin="40" data_begin="0" length="2" time="0"/></def>
  <device dev_id="1" mapped_blocks="2" transaction="0" creation_time="0" snap_time="0">
    <ref name="2"/>
  </device>
</superblock>`;

/** In pieces of that many characters, as a pipe may give them. */
async function* pieces(text: string, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < text.length; at += length) yield Buffer.from(text.slice(at, at + length));
}

describe("thin_dump", () => {
  test("devices by id, with their highest block, however the text is cut", async () => {
    for (const length of [1, 7, 4096]) {
      const { superblock, devices } = await readDump(pieces(DUMP, length));
      assert.deepEqual(superblock, { transactionId: 5n, blockSectors: 128n, dataBlocks: 1024n });
      assert.deepEqual(
        devices.map((device) => [device.thinId, device.highestBlock, device.transactionId]),
        [
          [0, undefined, 0n],
          [7, 30n, 3n],
        ],
      );
    }
  });

  test("parts that devices share", async () => {
    const { devices } = await readDump(pieces(SHARED, 50));
    assert.equal(devices[0]?.highestBlock, 41n);
  });

  test("text that was cut, or is something else, is an error", async () => {
    await assert.rejects(readDump(pieces(DUMP.slice(0, 300), 4096)), SyntaxError);
    await assert.rejects(readDump(pieces("<html></html>", 4096)), SyntaxError);
    await assert.rejects(readDump(pieces(DUMP.replace('"5"', '"five"'), 4096)), SyntaxError);
    await assert.rejects(readDump(pieces(`<a ${"x".repeat(10_000)}`, 512)), SyntaxError);
  });
});

const DELTA = `<superblock uuid="" time="3" transaction="5" data_block_size="128" nr_data_blocks="1024">
  <diff left="0" right="7">
    <same begin="0" length="8"/>
    <different begin="8" length="1"/>
    <left_only begin="20" length="1"/>
    <right_only begin="30" length="1"/>
  </diff>
</superblock>
`;

async function rangesOf(text: string): Promise<readonly (readonly [string, bigint, bigint])[]> {
  const out: [string, bigint, bigint][] = [];
  for await (const { kind, beginBlock, lengthBlocks } of readDelta(pieces(text, 10))) {
    out.push([kind, beginBlock, lengthBlocks]);
  }
  return out;
}

test("thin_delta: ranges by kind, without what is the same", async () => {
  assert.deepEqual(await rangesOf(DELTA), [
    ["changed", 8n, 1n],
    ["removed", 20n, 1n],
    ["added", 30n, 1n],
  ]);
  await assert.rejects(rangesOf(DELTA.slice(0, 200)), SyntaxError);
});

test("thin_ls: a line of numbers", () => {
  assert.deepEqual(readListLine("  7       655360          131072       524288           3 "), {
    thinId: 7,
    mappedBytes: 655_360n,
    exclusiveBytes: 131_072n,
    sharedBytes: 524_288n,
    transactionId: 3n,
  });
  assert.throws(() => readListLine("7 1KiB 0 0 3"), SyntaxError);
});
