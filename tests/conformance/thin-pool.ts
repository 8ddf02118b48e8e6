/**
 * What the device-mapper does, case by case. The same cases run on the simulated kernel (in the unit
 * tests) and on a real one (in the lab): where the two differ, the simulation is wrong.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Bench,
  BLOCK_BYTES,
  type ConformanceKernel,
  DATA_BYTES,
  line,
  METADATA_BYTES,
  refused,
  THIN_SECTORS,
} from "./machine.ts";

type Case = readonly [name: string, run: (bench: Bench) => Promise<void>];

const DEVICES: readonly Case[] = [
  [
    "a new device has no table and is not suspended",
    async (b) => {
      const info = await b.dm.createDevice(b.name("a"));
      assert.equal(info.hasLiveTable, false);
      assert.equal(info.suspended, false);
      assert.equal(info.openCount, 0);
      assert.deepEqual((await b.dm.table(b.ref("a"))).targets, []);
    },
  ],
  [
    "a taken name exists",
    async (b) => {
      await b.dm.createDevice(b.name("a"));
      await assert.rejects(b.dm.createDevice(b.name("a")), refused("NATIVE_EXISTS", "EBUSY"));
    },
  ],
  [
    "a device that is missing is not found",
    async (b) => {
      const missing = refused("NATIVE_NOT_FOUND", "ENXIO");
      await assert.rejects(b.dm.deviceStatus(b.ref("a")), missing);
      await assert.rejects(b.dm.removeDevice(b.ref("a")), missing);
      await assert.rejects(b.dm.loadTable(b.ref("a"), [line("zero", "")]), missing);
      await assert.rejects(b.dm.suspend(b.ref("a")), missing);
      await assert.rejects(b.dm.resume(b.ref("a")), missing);
      await assert.rejects(b.dm.message(b.ref("a"), "x"), missing);
    },
  ],
  [
    "resume without a table: nothing where active, invalid where suspended",
    async (b) => {
      await b.dm.createDevice(b.name("a"));
      assert.equal((await b.dm.resume(b.ref("a"))).hasLiveTable, false);
      assert.equal((await b.dm.suspend(b.ref("a"))).suspended, true);
      await assert.rejects(b.dm.resume(b.ref("a")), refused("NATIVE_INVALID", "EINVAL"));
    },
  ],
  [
    "a load fills the inactive slot, resume swaps it in, clear empties it",
    async (b) => {
      await b.make("a", line("zero", ""));
      const loaded = await b.dm.loadTable(b.ref("a"), [line("error", "")]);
      assert.equal(loaded.hasInactiveTable, true);
      assert.equal((await b.dm.table(b.ref("a"))).targets[0]?.type, "zero");
      const inactive = await b.dm.table(b.ref("a"), { inactive: true });
      assert.equal(inactive.targets[0]?.type, "error");
      assert.equal((await b.dm.clearTable(b.ref("a"))).hasInactiveTable, false);
      await b.dm.loadTable(b.ref("a"), [line("error", "")]);
      const info = await b.dm.resume(b.ref("a"));
      assert.equal(info.hasInactiveTable, false);
      assert.equal((await b.dm.table(b.ref("a"))).targets[0]?.type, "error");
    },
  ],
  [
    "a failed load keeps what was loaded before",
    async (b) => {
      await b.make("a", line("zero", ""));
      await b.dm.loadTable(b.ref("a"), [line("error", "")]);
      await assert.rejects(
        b.dm.loadTable(b.ref("a"), [line("nosuch", "")]),
        refused("NATIVE_INVALID", "EINVAL"),
      );
      assert.equal((await b.dm.deviceStatus(b.ref("a"))).hasInactiveTable, true);
    },
  ],
  [
    "bad tables are invalid",
    async (b) => {
      await b.dm.createDevice(b.name("a"));
      const invalid = refused("NATIVE_INVALID", "EINVAL");
      const tables = [
        [line("zero", "3")],
        [line("zero", "", 100, 5)],
        [line("zero", "", 100), line("zero", "", 100, 150)],
        [line("error", "", 0)],
        [line("linear", b.data.path)],
        [line("linear", `${b.data.path} x`)],
        [line("linear", `${b.data.path} 0`, DATA_BYTES / 512 + 1)],
      ];
      for (const table of tables) await assert.rejects(b.dm.loadTable(b.ref("a"), table), invalid);
    },
  ],
  [
    "a table's device that is missing is not found",
    async (b) => {
      await b.dm.createDevice(b.name("a"));
      const load = (device: string): Promise<unknown> =>
        b.dm.loadTable(b.ref("a"), [line("linear", `${device} 0`)]);
      await assert.rejects(load("99:1"), refused("NATIVE_NOT_FOUND", "ENXIO"));
      await assert.rejects(load("/dev/nosuch"), refused("NATIVE_NOT_FOUND", "ENODEV"));
    },
  ],
  [
    "linear: its table names the device by number, and its bytes are the device's",
    async (b) => {
      await b.make("a", line("linear", `${b.data.path} 8`, 64), line("zero", "", 64, 64));
      const { targets } = await b.dm.table(b.ref("a"));
      assert.equal(targets[0]?.params, `7:${b.data.dev.minor} 8`);
      assert.equal(targets.length, 2);
      const bytes = Buffer.alloc(4096, "x");
      await b.kernel.write(b.path("a"), 0, bytes);
      assert.deepEqual(await b.kernel.read(b.data.path, 4096, 4096), bytes);
      assert.deepEqual(await b.kernel.read(b.path("a"), 64 * 512, 4096), Buffer.alloc(4096));
      assert.deepEqual(await b.dm.tableDependencies(b.ref("a")), [b.data.dev]);
    },
  ],
  [
    "an open device is busy, and goes at its last close when removed deferred",
    async (b) => {
      await b.make("a", line("zero", ""));
      const letGo = await b.kernel.hold(b.path("a"));
      assert.equal((await b.dm.deviceStatus(b.ref("a"))).openCount, 1);
      await assert.rejects(b.dm.removeDevice(b.ref("a")), refused("NATIVE_BUSY", "EBUSY"));
      assert.equal(await b.dm.removeDevice(b.ref("a"), { deferred: true }), "deferred");
      assert.equal((await b.dm.deviceStatus(b.ref("a"))).deferredRemove, true);
      await letGo();
      await assert.rejects(b.dm.deviceStatus(b.ref("a")), refused("NATIVE_NOT_FOUND", "ENXIO"));
    },
  ],
  [
    "deferred removal of a device that nobody has open removes it",
    async (b) => {
      await b.make("a", line("zero", ""));
      assert.equal(await b.dm.removeDevice(b.ref("a"), { deferred: true }), "removed");
    },
  ],
  [
    "a device under another is open",
    async (b) => {
      await b.make("a", line("zero", ""));
      await b.make("b", line("linear", `${b.path("a")} 0`));
      assert.equal((await b.dm.deviceStatus(b.ref("a"))).openCount, 1);
      await b.dm.loadTable(b.ref("b"), [line("linear", `${b.path("a")} 0`)]);
      assert.equal((await b.dm.deviceStatus(b.ref("a"))).openCount, 1);
    },
  ],
  [
    "a rename raises an event; a taken name, the own one included, exists",
    async (b) => {
      const made = await b.make("a", line("zero", ""));
      await b.dm.createDevice(b.name("c"));
      const renamed = await b.dm.renameDevice(b.ref("a"), b.name("b"));
      assert.equal(renamed.name, b.name("b"));
      assert.equal((await b.dm.deviceStatus(b.ref("b"))).eventNr, made.eventNr + 1);
      const taken = refused("NATIVE_EXISTS", "EBUSY");
      await assert.rejects(b.dm.renameDevice(b.ref("b"), b.name("b")), taken);
      await assert.rejects(b.dm.renameDevice(b.ref("b"), b.name("c")), taken);
    },
  ],
  [
    "suspending twice is no error",
    async (b) => {
      await b.make("a", line("zero", ""));
      await b.dm.suspend(b.ref("a"));
      assert.equal((await b.dm.suspend(b.ref("a"))).suspended, true);
      assert.equal((await b.dm.resume(b.ref("a"))).suspended, false);
      assert.equal((await b.dm.resume(b.ref("a"))).suspended, false);
    },
  ],
  [
    "messages that a target does not take are invalid",
    async (b) => {
      await b.make("a", line("zero", ""));
      await assert.rejects(b.dm.message(b.ref("a"), "hello"), refused("NATIVE_INVALID", "EINVAL"));
    },
  ],
  [
    "a read-only table makes a read-only device",
    async (b) => {
      await b.dm.createDevice(b.name("a"));
      const table = [line("linear", `${b.data.path} 0`)];
      await b.dm.loadTable(b.ref("a"), table, { readOnly: true });
      assert.equal((await b.dm.resume(b.ref("a"))).readOnly, true);
    },
  ],
];

const POOLS: readonly Case[] = [
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

const MESSAGES: readonly Case[] = [
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

const THINS: readonly Case[] = [
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

const LOOPS: readonly Case[] = [
  [
    "a loop that is open goes at its last close",
    async (b) => {
      await b.make("a", line("linear", `${b.data.path} 0`));
      assert.equal(await b.kernel.loops.detach(b.data.path), "deferred");
      assert.equal((await b.kernel.loops.status(b.data.path)).autoclear, true);
      await b.dm.removeDevice(b.ref("a"));
      await assert.rejects(
        b.kernel.loops.status(b.data.path),
        refused("NATIVE_NOT_FOUND", "ENXIO"),
      );
    },
  ],
  [
    "loops are found by their file, and say which it is",
    async (b) => {
      const found = await b.kernel.loops.findByBackingFile(`${b.kernel.folder}/metadata`);
      assert.deepEqual(
        found.map((loop) => loop.path),
        [b.metadata.path],
      );
      const status = await b.kernel.loops.status(b.metadata.path);
      assert.equal(status.backingFile, `${b.kernel.folder}/metadata`);
      assert.equal(status.readOnly, false);
      assert.equal(METADATA_BYTES % 4096, 0);
    },
  ],
  [
    "a missing backing file is not found",
    async (b) => {
      await assert.rejects(
        b.kernel.loops.attach({ backingFile: `${b.kernel.folder}/nosuch` }),
        refused("NATIVE_NOT_FOUND", "ENOENT"),
      );
    },
  ],
];

/** Registers a test per case; `withKernel` gives each one a kernel and an empty folder. */
export function thinPoolConformance(
  withKernel: (run: (kernel: ConformanceKernel) => Promise<void>) => Promise<void>,
): void {
  for (const [name, run] of [...DEVICES, ...POOLS, ...MESSAGES, ...THINS, ...LOOPS]) {
    test(name, () =>
      withKernel(async (kernel) => {
        const bench = new Bench(kernel);
        try {
          await bench.attach();
          await run(bench);
        } finally {
          await bench.tearDown();
        }
      }),
    );
  }
}
