/** Conformance cases. Space: growth, full pools that come back, what a discard and a delete pass down. */
import assert from "node:assert/strict";
import { truncate } from "node:fs/promises";
import { join } from "node:path";
import {
  type Bench,
  BLOCK_BYTES,
  type Case,
  DATA_BYTES,
  line,
  METADATA_BYTES,
  MIB,
  refused,
} from "./machine.ts";

const SMALL_SECTORS = (16 * MIB) / 512;

async function growFile(b: Bench, file: "data" | "metadata", sizeBytes: number): Promise<void> {
  await truncate(join(b.kernel.folder, file), sizeBytes);
  await b.kernel.loops.refreshCapacity(b[file].path);
}

/** A pool of 16 MiB whose thin device 0 takes all of it. */
async function fullPool(b: Bench, features: string): Promise<void> {
  await b.make("pool", b.poolLine(features, SMALL_SECTORS));
  await b.message("create_thin 0");
  await b.thin(0, DATA_BYTES / 512);
  await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(16 * MIB, "a"));
}

/** A thin device with four blocks of "a", on a pool with these features. */
async function filled(b: Bench, features: string): Promise<void> {
  await b.pool(features);
  await b.message("create_thin 0");
  await b.thin(0);
  await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4 * BLOCK_BYTES, "a"));
}

/** What the data device holds where the first device's first blocks are. */
async function dataHolds(b: Bench): Promise<string> {
  return (await b.kernel.read(b.data.path, 0, 4096)).toString("latin1", 0, 1);
}

export const SPACE: readonly Case[] = [
  [
    "data grows with its file, by a longer table",
    async (b) => {
      await b.pool();
      const longer = (2 * DATA_BYTES) / 512;
      await b.dm.loadTable(b.ref("pool"), [b.poolLine("0", longer)]);
      await b.dm.suspend(b.ref("pool"));
      await assert.rejects(b.dm.resume(b.ref("pool")), refused("NATIVE_INVALID", "EINVAL"));
      // The table that does not fit is gone, the one before it is not.
      await b.dm.resume(b.ref("pool"));
      assert.match(await b.status(), / 0\/1024 /);
      await growFile(b, "data", 2 * DATA_BYTES);
      assert.match(await b.status(), / 0\/1024 /);
      await b.reload(b.poolLine("0", longer));
      assert.match(await b.status(), / 0\/2048 - rw /);
    },
  ],
  [
    "metadata grows with its file, at a reload of the same table and not before",
    async (b) => {
      await b.pool();
      await growFile(b, "metadata", 2 * METADATA_BYTES);
      assert.match(await b.status(), /^0 \d+\/2048 /);
      await b.reload(b.poolLine());
      assert.match(await b.status(), /^0 \d+\/4096 0\/1024 - rw .* 1024$/);
    },
  ],
  [
    "a pool that has grown can't be had smaller again",
    async (b) => {
      await b.make("pool", b.poolLine("0", SMALL_SECTORS));
      await b.reload(b.poolLine());
      await b.removePool();
      await assert.rejects(
        b.make("pool", b.poolLine("0", SMALL_SECTORS)),
        refused("NATIVE_INVALID", "EINVAL"),
      );
    },
  ],
  [
    "a pool out of data goes on once it has grown",
    async (b) => {
      await fullPool(b, "1 error_if_no_space");
      const more = Buffer.alloc(4096, "b");
      await assert.rejects(b.kernel.write(b.path("thin0"), 16 * MIB, more));
      assert.match(await b.status(), / 256\/256 - out_of_data_space /);
      await b.reload(b.poolLine("1 error_if_no_space"));
      assert.match(await b.status(), / 256\/1024 - rw /);
      await b.kernel.write(b.path("thin0"), 16 * MIB, more);
      assert.deepEqual(await b.kernel.read(b.path("thin0"), 16 * MIB, 4096), more);
    },
  ],
  [
    "a pool out of data is so again after a reload that brings nothing",
    async (b) => {
      await fullPool(b, "1 error_if_no_space");
      const more = Buffer.alloc(4096, "b");
      await assert.rejects(b.kernel.write(b.path("thin0"), 16 * MIB, more));
      await b.reload(b.poolLine("1 error_if_no_space", SMALL_SECTORS));
      assert.match(await b.status(), / 256\/256 - rw /);
      await assert.rejects(b.kernel.write(b.path("thin0"), 16 * MIB, more));
      assert.match(await b.status(), / 256\/256 - out_of_data_space /);
    },
  ],
  [
    "what a write without space gets is switched by a reload, there and back",
    async (b) => {
      await b.pool();
      await b.reload(b.poolLine("1 error_if_no_space"));
      assert.match(await b.status(), / discard_passdown error_if_no_space - 512$/);
      await b.reload(b.poolLine());
      assert.match(await b.status(), / discard_passdown queue_if_no_space - 512$/);
    },
  ],
  [
    "no thin device becomes live while its pool is suspended",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.dm.suspend(b.ref("pool"));
      await b.dm.createDevice(b.name("a"));
      const table = [line("thin", `${b.path("pool")} 0`)];
      await assert.rejects(b.dm.loadTable(b.ref("a"), table), refused("NATIVE_INVALID", "EINVAL"));
      await b.dm.resume(b.ref("pool"));
      await b.dm.loadTable(b.ref("a"), table);
      await b.dm.resume(b.ref("a"));
    },
  ],
  [
    "a discard is passed down to the data device",
    async (b) => {
      await filled(b, "0");
      await b.kernel.discard(b.path("thin0"), 0, 4 * BLOCK_BYTES);
      assert.equal(await b.dataUsed(), 0);
      assert.equal(await dataHolds(b), "\0");
    },
  ],
  [
    "a delete passes nothing down",
    async (b) => {
      await filled(b, "0");
      await b.dm.removeDevice(b.ref("thin0"));
      await b.message("delete 0");
      assert.equal(await b.dataUsed(), 0);
      assert.equal(await dataHolds(b), "a");
    },
  ],
  [
    "blocks that a snapshot shares are not passed down",
    async (b) => {
      await filled(b, "0");
      await b.message("create_snap 1 0");
      await b.kernel.discard(b.path("thin0"), 0, 4 * BLOCK_BYTES);
      assert.equal(await b.status("thin0"), "0 -");
      assert.equal(await b.dataUsed(), 4);
      assert.equal(await dataHolds(b), "a");
    },
  ],
  [
    "no_discard_passdown frees the blocks and leaves the data device alone",
    async (b) => {
      await filled(b, "1 no_discard_passdown");
      await b.kernel.discard(b.path("thin0"), 0, 4 * BLOCK_BYTES);
      assert.equal(await b.dataUsed(), 0);
      assert.equal(await dataHolds(b), "a");
    },
  ],
  [
    "ignore_discard refuses discards",
    async (b) => {
      await filled(b, "1 ignore_discard");
      await assert.rejects(
        b.kernel.discard(b.path("thin0"), 0, 4 * BLOCK_BYTES),
        refused("NATIVE_REFUSED", "EOPNOTSUPP"),
      );
      assert.equal(await b.dataUsed(), 4);
    },
  ],
];
