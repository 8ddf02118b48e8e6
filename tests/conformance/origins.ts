/** Conformance cases. Thin devices with an external origin, read-only ones, larger tables, late removals. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { NativeError } from "@thinpool/dm-native";
import { type Bench, BLOCK_BYTES, type Case, line, MIB, refused, THIN_SECTORS } from "./machine.ts";

/** Not a whole number of the pool's blocks: its last one ends in the middle of a block. */
const ORIGIN_BYTES = MIB + BLOCK_BYTES / 2;

function text(buffer: Buffer): string {
  return buffer.toString("latin1").replaceAll("\0", ".");
}

/** A pool, and an origin full of "o" for its thin device 0 (of `sectors`), which is active. */
async function onOrigin(b: Bench): Promise<string> {
  const { path } = await b.loop("golden", ORIGIN_BYTES);
  await b.kernel.write(path, 0, Buffer.alloc(ORIGIN_BYTES, "o"));
  await b.pool();
  await b.message("create_thin 0");
  await b.make("thin0", line("thin", `${b.path("pool")} 0 ${path}`, THIN_SECTORS));
  return path;
}

const CLOSE_ATTEMPTS = 100;
const CLOSE_INTERVAL_MS = 20;

/** A deferred removal is a work queue's: its name is gone before its table, which has the thin device open. */
async function onceClosed<T>(body: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await body();
    } catch (error) {
      const isBusy = error instanceof NativeError && error.code === "NATIVE_BUSY";
      if (!isBusy || attempt === CLOSE_ATTEMPTS) throw error;
    }
    await sleep(CLOSE_INTERVAL_MS);
  }
}

export const ORIGINS: readonly Case[] = [
  [
    "what a device does not have is read from its external origin, past its end are zeroes",
    async (b) => {
      await onOrigin(b);
      const start = await b.kernel.read(b.path("thin0"), 0, 4096);
      assert.equal(text(start), "o".repeat(4096));
      const end = await b.kernel.read(b.path("thin0"), ORIGIN_BYTES - 4096, 8192);
      assert.equal(text(end), "o".repeat(4096) + ".".repeat(4096));
      const beyond = await b.kernel.read(b.path("thin0"), 4 * MIB, 4096);
      assert.deepEqual(beyond, Buffer.alloc(4096));
      assert.equal(await b.dataUsed(), 0);
    },
  ],
  [
    "a part of a block that is written takes the rest from the external origin",
    async (b) => {
      const path = await onOrigin(b);
      await b.kernel.write(b.path("thin0"), 4096, Buffer.alloc(4096, "w"));
      assert.equal(await b.dataUsed(), 1);
      const read = await b.kernel.read(b.path("thin0"), 0, 12_288);
      assert.equal(text(read), "o".repeat(4096) + "w".repeat(4096) + "o".repeat(4096));
      const kept = await b.kernel.read(path, 4096, 4096);
      assert.equal(text(kept), "o".repeat(4096));
      // The block in which the origin ends: what is past the end is zero.
      await b.kernel.write(b.path("thin0"), MIB, Buffer.alloc(4096, "w"));
      const last = await b.kernel.read(b.path("thin0"), ORIGIN_BYTES - 4096, 8192);
      assert.equal(text(last), "o".repeat(4096) + ".".repeat(4096));
    },
  ],
  [
    "a snapshot of a device with an external origin has it if its table says so",
    async (b) => {
      const path = await onOrigin(b);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4096, "w"));
      await b.dm.suspend(b.ref("thin0"));
      await b.message("create_snap 1 0");
      await b.dm.resume(b.ref("thin0"));
      await b.make("with", line("thin", `${b.path("pool")} 1 ${path}`, THIN_SECTORS));
      const read = await b.kernel.read(b.path("with"), 0, BLOCK_BYTES + 4096);
      const expected = "w".repeat(4096) + "o".repeat(BLOCK_BYTES);
      assert.equal(text(read), expected);
      await b.dm.removeDevice(b.ref("with"));
      await b.make("without", line("thin", `${b.path("pool")} 1`, THIN_SECTORS));
      const bare = await b.kernel.read(b.path("without"), BLOCK_BYTES, 4096);
      assert.deepEqual(bare, Buffer.alloc(4096));
    },
  ],
  [
    "the table names the external origin, and holds it open",
    async (b) => {
      const path = await onOrigin(b);
      const pool = await b.dm.deviceStatus(b.ref("pool"));
      const { dev } = await b.kernel.loops.status(path);
      const { targets } = await b.dm.table(b.ref("thin0"));
      assert.equal(
        targets[0]?.params,
        `${pool.dev.major}:${pool.dev.minor} 0 ${dev.major}:${dev.minor}`,
      );
      assert.equal(await b.kernel.loops.detach(path), "deferred");
      await b.dm.removeDevice(b.ref("thin0"));
      await assert.rejects(b.kernel.loops.status(path), refused("NATIVE_NOT_FOUND", "ENXIO"));
    },
  ],
  [
    "bad external origins",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      const load = (origin: string): Promise<unknown> =>
        b.make("a", line("thin", `${b.path("pool")} 0 ${origin}`));
      await assert.rejects(load(b.path("pool")), refused("NATIVE_INVALID", "EINVAL"));
      await assert.rejects(load("/dev/none"), refused("NATIVE_NOT_FOUND", "ENODEV"));
      await assert.rejects(load(`${b.data.path} more`), refused("NATIVE_INVALID", "EINVAL"));
    },
  ],
  [
    "a read-only thin device reads and takes no writes",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.dm.createDevice(b.name("a"));
      const table = [line("thin", `${b.path("pool")} 0`, THIN_SECTORS)];
      await b.dm.loadTable(b.ref("a"), table, { readOnly: true });
      assert.equal((await b.dm.resume(b.ref("a"))).readOnly, true);
      assert.deepEqual(await b.kernel.read(b.path("a"), 0, 4096), Buffer.alloc(4096));
      await assert.rejects(b.kernel.write(b.path("a"), 0, Buffer.alloc(4096, "w")));
      assert.equal(await b.dataUsed(), 0);
    },
  ],
  [
    "a longer table of a live thin device takes over at resume, and its content stays",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4096, "a"));
      const longer = line("thin", `${b.path("pool")} 0`, 2 * THIN_SECTORS);
      await b.dm.loadTable(b.ref("thin0"), [longer]);
      const resumed = await b.dm.resume(b.ref("thin0"));
      assert.deepEqual([resumed.suspended, resumed.hasInactiveTable], [false, false]);
      const { targets } = await b.dm.table(b.ref("thin0"));
      assert.equal(targets[0]?.lengthSectors, BigInt(2 * THIN_SECTORS));
      assert.equal(text(await b.kernel.read(b.path("thin0"), 0, 4096)), "a".repeat(4096));
      const end = 2 * THIN_SECTORS * 512 - 4096;
      await b.kernel.write(b.path("thin0"), end, Buffer.alloc(4096, "e"));
    },
  ],
  [
    "a renamed device keeps its table, its content and who has it open",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4096, "a"));
      const letGo = await b.kernel.hold(b.path("thin0"));
      await b.dm.renameDevice(b.ref("thin0"), b.name("other"));
      assert.equal(text(await b.kernel.read(b.path("other"), 0, 4096)), "a".repeat(4096));
      assert.equal((await b.dm.deviceStatus(b.ref("other"))).openCount, 1);
      await assert.rejects(b.message("delete 0"), refused("NATIVE_BUSY", "EBUSY"));
      await letGo();
    },
  ],
  [
    "a deferred removal happens at the last close, unless it is cancelled",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.thin(0);
      let letGo = await b.kernel.hold(b.path("thin0"));
      assert.equal(await b.dm.removeDevice(b.ref("thin0"), { deferred: true }), "deferred");
      assert.equal((await b.dm.deviceStatus(b.ref("thin0"))).deferredRemove, true);
      await b.dm.message(b.ref("thin0"), "@cancel_deferred_remove");
      await letGo();
      assert.equal((await b.dm.deviceStatus(b.ref("thin0"))).deferredRemove, false);
      letGo = await b.kernel.hold(b.path("thin0"));
      await b.dm.removeDevice(b.ref("thin0"), { deferred: true });
      await letGo();
      await assert.rejects(b.dm.deviceStatus(b.ref("thin0")), refused("NATIVE_NOT_FOUND", "ENXIO"));
      await onceClosed(() => b.message("delete 0"));
    },
  ],
];
