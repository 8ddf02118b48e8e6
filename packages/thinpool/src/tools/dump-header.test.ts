import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { withDataBlocks } from "./dump-header.ts";

/** As thin_dump 0.9.0 prints it of a metadata snapshot, and of a device. */
const HEADER = (blocks: string): string =>
  `<superblock uuid="" time="1" transaction="2" flags="0" version="2" data_block_size="128" nr_data_blocks="${blocks}">\n`;
const REST = `  <device dev_id="0" mapped_blocks="0" transaction="0" creation_time="0" snap_time="0">\n  </device>\n</superblock>\n`;

async function passed(chunks: readonly string[]): Promise<string> {
  return text(Readable.from(chunks.map((chunk) => Buffer.from(chunk))).pipe(withDataBlocks(1024n)));
}

test("a size that was left out is put in, however the bytes come", async () => {
  const dump = HEADER("0") + REST;
  const wanted = HEADER("1024") + REST;
  assert.equal(await passed([dump]), wanted);
  assert.equal(await passed(dump.split("")), wanted);
  assert.equal(await passed([dump.slice(0, 118), dump.slice(118)]), wanted);
});

test("a size that is there stays, and what is no dump passes unchanged", async () => {
  assert.equal(await passed([HEADER("77") + REST]), HEADER("77") + REST);
  assert.equal(await passed([]), "");
  const long = "x".repeat(10_000);
  assert.equal(await passed([long, long]), long + long);
});
