/** Conformance cases. Devices, tables, loops. */
import assert from "node:assert/strict";
import { type DmStep, dmUuid } from "@thinpool/dm-native";
import { type Case, DATA_BYTES, line, METADATA_BYTES, refused } from "./machine.ts";

export const DEVICES: readonly Case[] = [
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
    "a run does its steps in order and stops at the first that is refused",
    async (b) => {
      const device = { name: b.name("a") };
      const uuid = dmUuid(`run-${b.kernel.suffix}`);
      const steps: readonly DmStep[] = [
        { command: "create", name: b.name("a"), uuid },
        { command: "load", device, table: [line("zero", "")] },
        { command: "resume", device },
        { command: "message", device, text: "@cancel_deferred_remove" },
      ];
      const done = await b.dm.run(steps);
      assert.equal(done.failure, undefined);
      assert.deepEqual(
        done.infos.map((info) => info?.hasLiveTable),
        [false, false, true, undefined],
      );
      assert.equal((await b.dm.table(device)).targets[0]?.type, "zero");

      const refusedFirst = await b.dm.run(steps);
      assert.equal(refusedFirst.infos.length, 0);
      assert.ok(refused("NATIVE_EXISTS", "EBUSY")(refusedFirst.failure));
      const refusedLater = await b.dm.run([
        { command: "load", device, table: [line("error", "")] },
        { command: "message", device, text: "nonsense" },
        { command: "resume", device },
      ]);
      assert.equal(refusedLater.infos.length, 1);
      assert.ok(refused("NATIVE_INVALID", "EINVAL")(refusedLater.failure));
      // The resume was not tried: the loaded table is still the inactive one.
      assert.equal((await b.dm.table(device)).targets[0]?.type, "zero");
      assert.equal((await b.dm.deviceStatus(device)).hasInactiveTable, true);
      assert.deepEqual(await b.dm.run([]), { infos: [], failure: undefined });
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

export const LOOPS: readonly Case[] = [
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
