/** Conformance cases. Thin devices: mapping, sharing, discards, a full pool. */
import assert from "node:assert/strict";
import { type Case, BLOCK_BYTES, DATA_BYTES, line, refused, THIN_SECTORS } from "./machine.ts";

export const THINS: readonly Case[] = [
  [
    "bad thin tables",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      const load = (params: string): Promise<unknown> => b.make("a", line("thin", params));
      const invalid = refused("NATIVE_INVALID", "EINVAL");
      await assert.rejects(load(`${b.path("pool")} 9`), refused("NATIVE_NOT_FOUND", "ENODATA"));
      await assert.rejects(load(`${b.data.path} 0`), (error: unknown) => {
        // A loop device that the pool has claimed, not a pool.
        return error instanceof Error && "code" in error && error.code === "NATIVE_INVALID";
      });
      await assert.rejects(load(`${b.path("pool")} 16777216`), invalid);
      await assert.rejects(load(`${b.path("pool")} x`), invalid);
      await assert.rejects(load(b.path("pool")), invalid);
    },
  ],
  [
    "status and table lines, and the pool is open",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      assert.equal(await b.status("thin0"), "0 -");
      const pool = await b.dm.deviceStatus(b.ref("pool"));
      const { targets } = await b.dm.table(b.ref("thin0"));
      assert.equal(targets[0]?.params, `${pool.dev.major}:${pool.dev.minor} 0`);
      assert.equal(pool.openCount, 1);
      await assert.rejects(b.removePool(), refused("NATIVE_BUSY", "EBUSY"));
    },
  ],
  [
    "writes map whole blocks; what was not written reads as zeroes",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.kernel.write(b.path("thin0"), 5 * BLOCK_BYTES + 4096, Buffer.alloc(4096, "x"));
      assert.equal(await b.status("thin0"), "128 767");
      assert.equal(await b.dataUsed(), 1);
      const block = await b.kernel.read(b.path("thin0"), 5 * BLOCK_BYTES, 12_288);
      assert.equal(
        block.toString("latin1").replaceAll("\0", "."),
        [".".repeat(4096), "x".repeat(4096), ".".repeat(4096)].join(""),
      );
    },
  ],
  [
    "a snapshot shares blocks until one side writes",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(10 * BLOCK_BYTES, "a"));
      await b.dm.suspend(b.ref("thin0"));
      await b.message("create_snap 1 0");
      await b.dm.resume(b.ref("thin0"));
      assert.equal(await b.dataUsed(), 10);
      await b.thin(1);
      await b.kernel.write(b.path("thin0"), 4096, Buffer.alloc(4096, "b"));
      assert.equal(await b.dataUsed(), 11);
      await b.kernel.write(b.path("thin0"), 8192, Buffer.alloc(4096, "b"));
      assert.equal(await b.dataUsed(), 11);
      await b.kernel.write(b.path("thin1"), BLOCK_BYTES, Buffer.alloc(2 * BLOCK_BYTES, "c"));
      assert.equal(await b.dataUsed(), 13);
      const origin = await b.kernel.read(b.path("thin0"), 0, 3 * BLOCK_BYTES);
      const clone = await b.kernel.read(b.path("thin1"), 0, 3 * BLOCK_BYTES);
      assert.equal(origin.toString("latin1", 4095, 4097), "ab");
      assert.equal(origin.toString("latin1", BLOCK_BYTES - 1, BLOCK_BYTES + 1), "aa");
      assert.equal(clone.toString("latin1", 4095, 4097), "aa");
      assert.equal(clone.toString("latin1", BLOCK_BYTES - 1, BLOCK_BYTES + 1), "ac");
      assert.equal(await b.status("thin1"), "1280 1279");
    },
  ],
  [
    "deleting gives back what nobody shares",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4 * BLOCK_BYTES, "a"));
      await b.message("create_snap 1 0");
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(BLOCK_BYTES, "b"));
      await b.dm.removeDevice(b.ref("thin0"));
      await b.message("delete 0");
      assert.equal(await b.dataUsed(), 4);
      await b.message("delete 1");
      assert.equal(await b.dataUsed(), 0);
    },
  ],
  [
    "a discard unmaps whole blocks only",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4 * BLOCK_BYTES, "a"));
      await b.kernel.discard(b.path("thin0"), BLOCK_BYTES / 2, 2 * BLOCK_BYTES);
      assert.equal(await b.status("thin0"), "384 511");
      assert.equal(await b.dataUsed(), 3);
      const read = await b.kernel.read(b.path("thin0"), BLOCK_BYTES, 4096);
      assert.deepEqual(read, Buffer.alloc(4096));
    },
  ],
  [
    "two devices may be the same thin",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.make("again", line("thin", `${b.path("pool")} 0`, THIN_SECTORS));
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4096, "a"));
      assert.deepEqual(await b.kernel.read(b.path("again"), 0, 4096), Buffer.alloc(4096, "a"));
    },
  ],
  [
    "a suspended pool suspends its thins internally",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.dm.suspend(b.ref("pool"));
      const held = await b.dm.deviceStatus(b.ref("thin0"));
      assert.equal(held.internallySuspended, true);
      assert.equal(held.suspended, false);
      await b.dm.resume(b.ref("pool"));
      assert.equal((await b.dm.deviceStatus(b.ref("thin0"))).internallySuspended, false);
    },
  ],
  [
    "a full pool: the low-water event, out of data, still takes messages, comes back",
    async (b) => {
      await b.pool("1 error_if_no_space");
      await b.message("create_thin 0");
      await b.message("create_thin 1");
      await b.thin(0, DATA_BYTES / 512);
      await b.thin(1);
      const chunk = Buffer.alloc(DATA_BYTES / 8, "a");
      for (let part = 0; part < 8; part += 1) {
        await b.kernel.write(b.path("thin0"), part * chunk.length, chunk);
      }
      assert.equal((await b.dm.deviceStatus(b.ref("pool"))).eventNr, 1);
      await assert.rejects(b.kernel.write(b.path("thin1"), 0, Buffer.alloc(4096, "b")));
      assert.match(await b.status(), / 1024\/1024 - out_of_data_space /);
      assert.equal((await b.dm.deviceStatus(b.ref("pool"))).eventNr, 2);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4096, "c"));
      await b.message("create_snap 2 0");
      await b.message("delete 2");
      assert.match(await b.status(), / out_of_data_space /);
      await b.dm.removeDevice(b.ref("thin0"));
      await b.message("delete 0");
      assert.match(await b.status(), / 0\/1024 - rw /);
      await b.kernel.write(b.path("thin1"), 0, Buffer.alloc(4096, "b"));
    },
  ],
];
