/** Conformance cases. Thin pools and their messages. */
import assert from "node:assert/strict";
import { type Case, DATA_BYTES, line, refused } from "./machine.ts";

export const POOLS: readonly Case[] = [
  [
    "a new pool: status and table lines",
    async (b) => {
      const info = await b.pool();
      assert.equal(info.eventNr, 0);
      assert.equal(
        await b.status(),
        "0 213/2048 0/1024 - rw discard_passdown queue_if_no_space - 512",
      );
      const devices = `7:${b.metadata.dev.minor} 7:${b.data.dev.minor}`;
      const { targets } = await b.dm.table(b.ref("pool"));
      assert.equal(targets[0]?.params, `${devices} 128 100 0`);
    },
  ],
  [
    "features come back in the kernel's order",
    async (b) => {
      await b.pool("3 error_if_no_space skip_block_zeroing no_discard_passdown");
      const { targets } = await b.dm.table(b.ref("pool"));
      assert.match(
        targets[0]?.params ?? "",
        / 128 100 3 skip_block_zeroing no_discard_passdown error_if_no_space$/,
      );
      assert.match(await b.status(), / - rw no_discard_passdown error_if_no_space - 512$/);
    },
  ],
  [
    "bad pool tables are invalid",
    async (b) => {
      const invalid = refused("NATIVE_INVALID", "EINVAL");
      const devices = `${b.metadata.path} ${b.data.path}`;
      const bad = ["129 100", "64 100", "128 x", "128", "128 100 1 foo", "128 100 2 read_only"];
      for (const rest of bad) {
        const table = line("thin-pool", `${devices} ${rest}`, DATA_BYTES / 512);
        await assert.rejects(b.make("pool", table), invalid, rest);
      }
    },
  ],
  [
    "a second pool on the same metadata is busy",
    async (b) => {
      await b.pool();
      await assert.rejects(b.make("two", b.poolLine()), refused("NATIVE_BUSY", "EBUSY"));
    },
  ],
  [
    "garbage in place of the superblock is refused",
    async (b) => {
      await b.kernel.write(b.metadata.path, 0, Buffer.alloc(4096, 0xaa));
      await assert.rejects(b.pool(), (error: unknown) => {
        return error instanceof Error && "code" in error && error.code === "NATIVE_IO";
      });
    },
  ],
  [
    "another block size than the pool's is invalid",
    async (b) => {
      await b.pool();
      await b.removePool();
      const params = `${b.metadata.path} ${b.data.path} 256 100`;
      await assert.rejects(
        b.make("pool", line("thin-pool", params, DATA_BYTES / 512)),
        refused("NATIVE_INVALID", "EINVAL"),
      );
    },
  ],
  [
    "a smaller table is refused at resume and leaves the pool suspended",
    async (b) => {
      await b.pool();
      await b.dm.loadTable(b.ref("pool"), [b.poolLine("0", DATA_BYTES / 1024)]);
      await assert.rejects(b.dm.resume(b.ref("pool")), refused("NATIVE_INVALID", "EINVAL"));
      assert.equal((await b.dm.deviceStatus(b.ref("pool"))).suspended, true);
      await b.dm.loadTable(b.ref("pool"), [b.poolLine()]);
      assert.equal((await b.dm.resume(b.ref("pool"))).suspended, false);
    },
  ],
  [
    "a longer table grows the pool",
    async (b) => {
      await b.make("pool", b.poolLine("0", DATA_BYTES / 1024));
      assert.match(await b.status(), / 0\/512 /);
      await b.reload(b.poolLine());
      assert.match(await b.status(), / 0\/1024 /);
    },
  ],
  [
    "a pool can't become another target",
    async (b) => {
      await b.pool();
      await assert.rejects(
        b.dm.loadTable(b.ref("pool"), [line("linear", `${b.data.path} 0`)]),
        refused("NATIVE_INVALID", "EINVAL"),
      );
    },
  ],
  [
    "a reload to read_only and back raises events, and takes no messages between",
    async (b) => {
      await b.pool();
      await b.reload(b.poolLine("1 read_only"));
      assert.equal((await b.dm.deviceStatus(b.ref("pool"))).eventNr, 1);
      assert.match(await b.status(), / ro /);
      const readOnly = refused("NATIVE_REFUSED", "EOPNOTSUPP");
      await assert.rejects(b.message("create_thin 0"), readOnly);
      await assert.rejects(b.message("bogus"), readOnly);
      await b.reload(b.poolLine());
      assert.equal((await b.dm.deviceStatus(b.ref("pool"))).eventNr, 2);
      await b.message("create_thin 0");
    },
  ],
  [
    "discards can't be switched off by a reload",
    async (b) => {
      await b.pool();
      await assert.rejects(
        b.dm.loadTable(b.ref("pool"), [b.poolLine("1 ignore_discard")]),
        refused("NATIVE_INVALID", "EINVAL"),
      );
    },
  ],
  [
    "the metadata is there again when the pool is",
    async (b) => {
      await b.pool();
      await b.message("create_thin 5");
      await b.message("set_transaction_id 0 7");
      await b.removePool();
      await b.pool();
      assert.match(await b.status(), /^7 /);
      await assert.rejects(b.message("create_thin 5"), refused("NATIVE_EXISTS", "EEXIST"));
    },
  ],
];

export const MESSAGES: readonly Case[] = [
  [
    "create_thin: a taken id exists, more than 24 bits are invalid",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.message("create_thin 16777215");
      await assert.rejects(b.message("create_thin 0"), refused("NATIVE_EXISTS", "EEXIST"));
      const invalid = refused("NATIVE_INVALID", "EINVAL");
      for (const text of ["create_thin 16777216", "create_thin x", "create_thin", "create_thin -1"])
        await assert.rejects(b.message(text), invalid, text);
    },
  ],
  [
    "create_snap: origin missing, id taken",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await assert.rejects(b.message("create_snap 1 7"), refused("NATIVE_NOT_FOUND", "ENODATA"));
      await assert.rejects(b.message("create_snap 0 0"), refused("NATIVE_EXISTS", "EEXIST"));
      await assert.rejects(b.message("create_snap 0 7"), refused("NATIVE_EXISTS", "EEXIST"));
      await assert.rejects(b.message("create_snap 1"), refused("NATIVE_INVALID", "EINVAL"));
      await b.message("create_snap 1 0");
    },
  ],
  [
    "delete: missing is not found, active is busy",
    async (b) => {
      await b.pool();
      await assert.rejects(b.message("delete 9"), refused("NATIVE_NOT_FOUND", "ENODATA"));
      await b.message("create_thin 0");
      await b.thin(0);
      await assert.rejects(b.message("delete 0"), refused("NATIVE_BUSY", "EBUSY"));
      await b.dm.removeDevice(b.ref("thin0"));
      await b.message("delete 0");
      await assert.rejects(b.message("delete 0"), refused("NATIVE_NOT_FOUND", "ENODATA"));
    },
  ],
  [
    "delete is busy while a loaded, not yet live table has the device",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.dm.createDevice(b.name("a"));
      await b.dm.loadTable(b.ref("a"), [line("thin", `${b.path("pool")} 0`)]);
      await assert.rejects(b.message("delete 0"), refused("NATIVE_BUSY", "EBUSY"));
      await b.dm.clearTable(b.ref("a"));
      await b.message("delete 0");
    },
  ],
  [
    "set_transaction_id compares and swaps",
    async (b) => {
      await b.pool();
      await b.message("set_transaction_id 0 6");
      const invalid = refused("NATIVE_INVALID", "EINVAL");
      await assert.rejects(b.message("set_transaction_id 0 7"), invalid);
      await assert.rejects(b.message("set_transaction_id 6"), invalid);
      await b.message("set_transaction_id 6 18446744073709551615");
      assert.match(await b.status(), /^18446744073709551615 /);
    },
  ],
  [
    "one metadata snapshot at a time",
    async (b) => {
      await b.pool();
      await b.message("reserve_metadata_snap");
      assert.match(await b.status(), /^0 \d+\/2048 0\/1024 \d+ rw /);
      await assert.rejects(b.message("reserve_metadata_snap"), refused("NATIVE_BUSY", "EBUSY"));
      await b.message("release_metadata_snap");
      await assert.rejects(b.message("release_metadata_snap"), refused("NATIVE_INVALID", "EINVAL"));
    },
  ],
  [
    "unknown messages are invalid, case does not matter",
    async (b) => {
      await b.pool();
      const invalid = refused("NATIVE_INVALID", "EINVAL");
      await assert.rejects(b.message("bogus"), invalid);
      await assert.rejects(b.message("create_thin 1 2"), invalid);
      await b.message("CREATE_THIN 1");
    },
  ],
  [
    "a suspended pool takes messages",
    async (b) => {
      await b.pool();
      await b.dm.suspend(b.ref("pool"));
      await b.message("create_thin 3");
      await b.dm.resume(b.ref("pool"));
    },
  ],
  [
    "a device without a live table drops messages",
    async (b) => {
      await b.dm.createDevice(b.name("pool"));
      assert.equal(await b.message("create_thin 1"), undefined);
    },
  ],
];
