/** Conformance cases. What a state lets through: read-only and suspended pools, a metadata snapshot that is held. */
import assert from "node:assert/strict";
import { dmName, dmUuid } from "@thinpool/dm-native";
import { type Bench, BLOCK_BYTES, type Case, line, MIB, refused, THIN_SECTORS } from "./machine.ts";

const LETTER = 4096;

function bytes(letter: string): Buffer {
  return Buffer.alloc(LETTER, letter);
}

/** Thin 0 with four blocks of "a", active. */
async function filled(b: Bench): Promise<void> {
  await b.pool();
  await b.message("create_thin 0");
  await b.thin(0);
  await b.kernel.write(b.path("thin0"), 0, Buffer.alloc(4 * BLOCK_BYTES, "a"));
}

export const STATES: readonly Case[] = [
  [
    "a read-only pool: mapped blocks are written and flushed, others refused",
    async (b) => {
      await filled(b);
      await b.reload(b.poolLine("1 read_only"));
      await b.kernel.write(b.path("thin0"), 0, bytes("b"));
      await b.kernel.flush(b.path("thin0"));
      assert.deepEqual(await b.kernel.read(b.path("thin0"), 0, LETTER), bytes("b"));
      await assert.rejects(b.kernel.write(b.path("thin0"), 5 * BLOCK_BYTES, bytes("b")));
      const unmapped = await b.kernel.read(b.path("thin0"), 5 * BLOCK_BYTES, LETTER);
      assert.deepEqual(unmapped, Buffer.alloc(LETTER));
      assert.equal(await b.status("thin0"), "512 511");
    },
  ],
  [
    "a read-only pool takes a discard, and does nothing",
    async (b) => {
      await filled(b);
      await b.reload(b.poolLine("1 read_only"));
      await b.kernel.discard(b.path("thin0"), 0, 4 * BLOCK_BYTES);
      assert.equal(await b.status("thin0"), "512 511");
      assert.deepEqual(await b.kernel.read(b.path("thin0"), 0, LETTER), bytes("a"));
    },
  ],
  [
    "a read-only pool refuses the flush of a device without a first block",
    async (b) => {
      await filled(b);
      await b.kernel.discard(b.path("thin0"), 0, BLOCK_BYTES);
      await b.kernel.flush(b.path("thin0"));
      await b.reload(b.poolLine("1 read_only"));
      await assert.rejects(b.kernel.flush(b.path("thin0")));
    },
  ],
  [
    "a held metadata snapshot keeps the blocks of a deleted device until it is released",
    async (b) => {
      await filled(b);
      await b.message("reserve_metadata_snap");
      await b.dm.removeDevice(b.ref("thin0"));
      await b.message("delete 0");
      assert.equal(await b.dataUsed(), 4);
      await b.message("release_metadata_snap");
      assert.equal(await b.dataUsed(), 0);
    },
  ],
  [
    "a held metadata snapshot keeps discarded blocks, though the discard is passed down",
    async (b) => {
      await filled(b);
      await b.message("reserve_metadata_snap");
      await b.kernel.discard(b.path("thin0"), 0, 4 * BLOCK_BYTES);
      assert.equal(await b.status("thin0"), "0 -");
      assert.equal(await b.dataUsed(), 4);
      assert.deepEqual(await b.kernel.read(b.data.path, 0, LETTER), Buffer.alloc(LETTER));
      await b.message("release_metadata_snap");
      assert.equal(await b.dataUsed(), 0);
    },
  ],
  [
    "a held metadata snapshot does not make a block shared: a write goes to it in place",
    async (b) => {
      await filled(b);
      await b.message("reserve_metadata_snap");
      await b.kernel.write(b.path("thin0"), 0, bytes("b"));
      assert.equal(await b.dataUsed(), 4);
      await b.message("release_metadata_snap");
      assert.equal(await b.dataUsed(), 4);
      assert.deepEqual(await b.kernel.read(b.path("thin0"), 0, LETTER), bytes("b"));
    },
  ],
  [
    "while its pool is suspended a thin device is neither suspended nor resumed",
    async (b) => {
      await filled(b);
      await b.dm.suspend(b.ref("pool"));
      // The kernel holds the call back until the pool is resumed, the simulation refuses it at once.
      const suspending = b.dm.suspend(b.ref("thin0")).then(
        ({ suspended }) => suspended,
        (error: unknown) => refused("NATIVE_IO", "EAGAIN")(error),
      );
      for (let look = 0; look < 10; look += 1) {
        assert.equal((await b.dm.deviceStatus(b.ref("thin0"))).suspended, false);
      }
      await b.dm.resume(b.ref("pool"));
      assert.equal(await suspending, true);
      await b.dm.suspend(b.ref("thin0"));
      await b.dm.suspend(b.ref("pool"));
      const both = await b.dm.deviceStatus(b.ref("thin0"));
      assert.deepEqual([both.suspended, both.internallySuspended], [true, true]);
      const resuming = b.dm.resume(b.ref("thin0")).then(
        ({ suspended }) => !suspended,
        (error: unknown) => refused("NATIVE_IO", "EAGAIN")(error),
      );
      for (let look = 0; look < 10; look += 1) {
        assert.equal((await b.dm.deviceStatus(b.ref("thin0"))).suspended, true);
      }
      await b.dm.resume(b.ref("pool"));
      assert.equal(await resuming, true);
      await b.dm.resume(b.ref("thin0"));
      assert.equal((await b.dm.deviceStatus(b.ref("thin0"))).suspended, false);
    },
  ],
  [
    "a suspended pool holds a thin device still that is loaded and not yet live",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.dm.createDevice(b.name("a"));
      await b.dm.loadTable(b.ref("a"), [line("thin", `${b.path("pool")} 0`, THIN_SECTORS)]);
      await b.dm.suspend(b.ref("pool"));
      assert.equal((await b.dm.deviceStatus(b.ref("a"))).internallySuspended, true);
      await b.dm.resume(b.ref("pool"));
      assert.equal((await b.dm.resume(b.ref("a"))).hasLiveTable, true);
    },
  ],
  [
    "what a table stands on is listed with the last opened first",
    async (b) => {
      await b.pool();
      assert.deepEqual(await b.dm.tableDependencies(b.ref("pool")), [b.data.dev, b.metadata.dev]);
    },
  ],
  [
    "a name and a uuid as long as they may be; one of each is taken once",
    async (b) => {
      const tail = `-${b.kernel.suffix}`;
      const name = dmName("n".repeat(127 - tail.length) + tail);
      const uuid = dmUuid("u".repeat(128 - tail.length) + tail);
      const made = await b.dm.createDevice(name, { uuid });
      assert.deepEqual([made.name, made.uuid], [name, uuid]);
      const listed = (await b.dm.listDevices()).find((device) => device.name === name);
      assert.deepEqual(listed?.dev, made.dev);
      assert.equal((await b.dm.deviceStatus({ uuid })).name, name);
      await assert.rejects(
        b.dm.createDevice(b.name("a"), { uuid }),
        refused("NATIVE_EXISTS", "EBUSY"),
      );
      const other = dmName("m".repeat(127 - tail.length) + tail);
      assert.equal((await b.dm.renameDevice({ uuid }, other)).name, other);
    },
  ],
  [
    "a minor number of one's own: taken once, and within its 20 bits",
    async (b) => {
      const minor = 0xf_fff0;
      const { dev } = await b.dm.createDevice(b.name("a"), { minor });
      assert.equal(dev.minor, minor);
      await assert.rejects(
        b.dm.createDevice(b.name("b"), { minor }),
        refused("NATIVE_EXISTS", "ENXIO"),
      );
      for (const bad of [1 << 20, -1, 0.5]) {
        await assert.rejects(b.dm.createDevice(b.name("b"), { minor: bad }), {
          code: "NATIVE_INVALID",
        });
      }
    },
  ],
  [
    "an event poll: what came before counts not, each change once",
    async (b) => {
      await b.make("a", line("zero", ""));
      await using events = await b.dm.openEventPoll();
      const came = async (): Promise<boolean> => events.wait({ timeoutMs: 0 });
      assert.equal(await came(), false);
      await b.dm.createDevice(b.name("b"));
      assert.equal(await came(), true);
      assert.equal(await came(), false);
      await b.dm.loadTable(b.ref("a"), [line("error", "")]);
      await b.dm.suspend(b.ref("a"));
      assert.equal(await came(), false);
      // The table is swapped in; the device's own event number stays.
      assert.equal((await b.dm.resume(b.ref("a"))).eventNr, 0);
      assert.equal(await came(), true);
      await b.dm.suspend(b.ref("a"));
      await b.dm.resume(b.ref("a"));
      assert.equal(await came(), false);
      await b.dm.renameDevice(b.ref("a"), b.name("c"));
      assert.equal(await came(), true);
      await b.dm.removeDevice(b.ref("b"));
      assert.equal(await came(), true);
      assert.equal(await came(), false);
    },
  ],
  [
    "a read-only loop: under a table that writes, and as an external origin",
    async (b) => {
      const { path } = await b.loop("golden", MIB, { readOnly: true });
      await b.pool();
      await b.message("create_thin 0");
      await b.make("a", line("thin", `${b.path("pool")} 0 ${path}`, THIN_SECTORS));
      await b.kernel.write(b.path("a"), 0, bytes("b"));
      await b.make("b", line("linear", `${path} 0`));
      await assert.rejects(b.kernel.write(b.path("b"), 0, bytes("b")));
    },
  ],
  [
    "a suspended pool can be removed, and comes back as it was",
    async (b) => {
      await b.pool();
      await b.message("create_thin 0");
      await b.dm.suspend(b.ref("pool"));
      await b.message("create_thin 1");
      await b.removePool();
      await b.pool();
      await assert.rejects(b.message("create_thin 1"), refused("NATIVE_EXISTS", "EEXIST"));
    },
  ],
];
