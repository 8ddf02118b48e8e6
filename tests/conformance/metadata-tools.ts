/** Conformance cases. What the tools say of a pool that is down, and of a live one's metadata snapshot. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { thinId } from "@thinpool/dm-native";
import type { BlockDifference, MetadataSource } from "@thinpool/thinpool";
import { type Bench, BLOCK_BYTES, type Case, DATA_BYTES } from "./machine.ts";

/** Thin 0 with blocks 0 to 3; its snapshot 1, of which block 1 is written anew, 2 discarded, 9 added. */
async function twoDevices(b: Bench): Promise<void> {
  await b.pool();
  await b.message("create_thin 0");
  await b.thin(0);
  await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4 * BLOCK_BYTES, "a"));
  await b.dm.suspend(b.ref("thin0"));
  await b.message("create_snap 1 0");
  await b.dm.resume(b.ref("thin0"));
  await b.message("set_transaction_id 0 1");
  await b.message("create_thin 7");
  await b.thin(1);
  await b.kernel.write(b.path("thin1"), BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, "b"));
  await b.kernel.discard(b.path("thin1"), 2 * BLOCK_BYTES, BLOCK_BYTES);
  await b.kernel.write(b.path("thin1"), 9 * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, "b"));
}

async function takeDown(b: Bench): Promise<void> {
  for (const short of ["thin0", "thin1", "pool"]) await b.dm.removeDevice(b.ref(short));
}

async function assertListing(b: Bench, source: MetadataSource): Promise<void> {
  const { superblock, devices } = await b.kernel.tools.read({ ...source, mappings: true });
  assert.deepEqual([superblock.transactionId, superblock.blockSectors], [1n, 128n]);
  assert.deepEqual(
    devices.map((device) => [
      device.thinId,
      device.mappedBlocks,
      device.transactionId,
      device.highestBlock,
    ]),
    [
      [0, 4n, 0n, 3n],
      [1, 4n, 0n, 9n],
      [7, 0n, 1n, undefined],
    ],
  );
  const short = await b.kernel.tools.read(source);
  assert.deepEqual(
    short.devices.map(({ highestBlock }) => highestBlock),
    [undefined, undefined, undefined],
  );
}

async function assertUsage(b: Bench, source: MetadataSource): Promise<void> {
  const usage = await b.kernel.tools.usage(source);
  const blocks = (bytes: bigint): bigint => bytes / BigInt(BLOCK_BYTES);
  assert.deepEqual(
    usage.map((device) => [
      device.thinId,
      blocks(device.mappedBytes),
      blocks(device.exclusiveBytes),
      blocks(device.sharedBytes),
    ]),
    [
      [0, 4n, 2n, 2n],
      [1, 4n, 2n, 2n],
      [7, 0n, 0n, 0n],
    ],
  );
}

async function assertDelta(b: Bench, source: MetadataSource): Promise<void> {
  const found: BlockDifference[] = [];
  const between = { ...source, from: thinId(0), to: thinId(1) };
  for await (const range of b.kernel.tools.delta(between)) found.push(range);
  assert.deepEqual(found, [
    { kind: "changed", beginBlock: 1n, lengthBlocks: 1n },
    { kind: "removed", beginBlock: 2n, lengthBlocks: 1n },
    { kind: "added", beginBlock: 9n, lengthBlocks: 1n },
  ]);
}

async function failed(work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => error instanceof Error && !(error instanceof TypeError));
}

export const METADATA_TOOLS: readonly Case[] = [
  [
    "the tools on a live pool: through its metadata snapshot only",
    async (b) => {
      await twoDevices(b);
      const live = { path: b.metadata.path };
      const source = { ...live, snapshot: true };
      await failed(b.kernel.tools.usage(source));
      await failed(b.kernel.tools.check(live));
      await b.message("reserve_metadata_snap");
      // What comes later is not in it.
      await b.kernel.write(b.path("thin0"), 5 * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, "c"));
      await b.message("create_thin 8");
      await assertListing(b, source);
      await assertUsage(b, source);
      await assertDelta(b, source);
      assert.equal((await b.kernel.tools.check(source)).outcome, "clean");
      await b.message("release_metadata_snap");
      await failed(b.kernel.tools.usage(source));
    },
  ],
  [
    "the tools on a pool that is down; a dump put back elsewhere is the same pool",
    async (b) => {
      await twoDevices(b);
      await takeDown(b);
      const source = { path: b.metadata.path };
      assert.equal((await b.kernel.tools.check(source)).outcome, "clean");
      await assertListing(b, source);
      await assertUsage(b, source);
      await assertDelta(b, source);
      const file = join(b.kernel.folder, "dump.xml");
      await b.kernel.tools.dump({ ...source, file, dataBlocks: BigInt(DATA_BYTES) >> 16n });
      const other = await b.loop("other", 8 << 20);
      await b.kernel.tools.restore({ file, path: other.path });
      await assertListing(b, other);
      b.metadata = other;
      await b.pool();
      await b.thin(1);
      const bytes = await b.kernel.read(b.path("thin1"), 0, 4 * BLOCK_BYTES);
      const firsts = [0, 1, 2, 3].map((block) => bytes[block * BLOCK_BYTES]);
      assert.equal(Buffer.from(firsts.map(Number)).toString("latin1"), "ab\0a");
    },
  ],
  [
    // Which of the trees that it finds the program takes for the last is its own guess.
    "a lost superblock is damage, and is mended into what passes the check",
    async (b) => {
      await twoDevices(b);
      await takeDown(b);
      const source = { path: b.metadata.path };
      const { superblock: known } = await b.kernel.tools.read(source);
      await b.kernel.write(source.path, 0, Buffer.alloc(4096, "x"));
      assert.equal((await b.kernel.tools.check(source)).outcome, "damaged");
      await failed(b.kernel.tools.read(source));
      const { path: to } = await b.loop("other", 8 << 20);
      await b.kernel.tools.repair({ from: source.path, to, known });
      assert.equal((await b.kernel.tools.check({ path: to })).outcome, "clean");
    },
  ],
];
