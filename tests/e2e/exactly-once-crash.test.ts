/**
 * The daemon, or the machine, dies right before or right after any kernel call of a change that has an
 * idempotency key. The next daemon is asked for the same again: then it has happened exactly once, and
 * asked a third time it answers the same (INV-31).
 *
 * A dead process writes nothing, but the code under test still runs its roll-back: so the pool's
 * folder is copied at the moment of death and put back before the next start.
 */
import assert from "node:assert/strict";
import { copyFileSync, linkSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { SimCrash } from "@thinpool/dm-sim";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import type { Client } from "@thinpool/sdk";
import { DEVICE_BYTES, world } from "./sim-world.ts";
import type { World } from "./sim-world.ts";

const KEY = { idempotencyKey: "the-one" };
/** More boundaries than any change here has; reaching it means that a crash never came. */
const MAX_POINTS = 200;

interface Change {
  readonly name: string;
  readonly prepare: (client: Client) => Promise<string>;
  /** `subject`: what `prepare` gave. The result as plain data. */
  readonly run: (client: Client, subject: string) => Promise<unknown>;
  /** How far the pool's transaction id goes up; undefined where undoing half of it takes some too. */
  readonly transactions: bigint | undefined;
  /** What there is afterwards. */
  readonly devices: readonly string[];
  readonly references: number;
}

const clone = async (client: Client): Promise<string> =>
  (await client.clone({ origin: "base", name: "one" })).name;

const CHANGES: readonly Change[] = [
  {
    name: "device.create",
    prepare: async () => Promise.resolve("new"),
    run: (client, name) => client.create({ name, sizeBytes: DEVICE_BYTES, ...KEY }),
    transactions: undefined,
    devices: ["base", "new"],
    references: 0,
  },
  {
    name: "device.clone",
    prepare: async () => Promise.resolve("new"),
    run: async (client, name) => (await client.clone({ origin: "base", name, ...KEY })).device,
    transactions: 1n,
    devices: ["base", "new"],
    references: 0,
  },
  {
    name: "device.remove",
    prepare: clone,
    run: (client, name) => client.remove({ name, ...KEY }),
    transactions: 1n,
    devices: ["base"],
    references: 0,
  },
  {
    name: "device.snapshotMany",
    prepare: clone,
    run: async (client, one) => {
      const snapshots = ["base", one].map((origin) => ({ origin, name: `${origin}-then` }));
      const { devices } = await client.devices.snapshotMany({ snapshots, ...KEY });
      return devices.map(({ uuid }) => uuid);
    },
    transactions: 1n,
    devices: ["base", "base-then", "one", "one-then"],
    references: 0,
  },
  {
    name: "device.revert",
    prepare: async (client) => {
      const origin = await clone(client);
      return (await client.clone({ origin, name: "then" })).name;
    },
    run: (client, snapshot) => client.devices.revert({ name: "one", snapshot, ...KEY }),
    transactions: undefined,
    devices: ["base", "one", "then"],
    references: 0,
  },
  {
    name: "mount.create",
    prepare: clone,
    run: async (client, device) => (await client.mount({ device, ...KEY })).reference,
    transactions: 0n,
    devices: ["base", "one"],
    references: 1,
  },
  {
    name: "mount.release",
    prepare: async (client) => (await client.mount({ device: await clone(client) })).reference,
    run: (client, reference) => client.release({ reference, ...KEY }),
    transactions: 0n,
    devices: ["base", "one"],
    references: 0,
  },
];

/** The databases change in place; the other files only come and go, and loops know them by inode. */
function keep(from: string, to: string): void {
  for (const name of readdirSync(from)) {
    const take = name.includes(".sqlite") ? copyFileSync : linkSync;
    take(join(from, name), join(to, name));
  }
}

/** Runs the change in a world that dies at `point`; undefined where it has fewer points. */
async function dying(
  w: World,
  change: Change,
  point: number,
): Promise<{ readonly subject: string; readonly before: bigint } | undefined> {
  await using daemon = await w.start();
  await using client = await w.connect();
  const subject = await change.prepare(client);
  const before = (await client.status()).transactionId;
  const saved = mkdtempSync(join(w.parent, "saved-"));
  let seen = 0;
  let died = false;
  const stop = w.kernel.onCall((call) => {
    if (seen === point && !died) {
      died = true;
      keep(w.folder, saved);
      throw new SimCrash(`${call.phase} ${call.operation}`);
    }
    seen += 1;
  });
  // What it rejects with is the crash, dressed up: the next daemon is asked.
  const outcome = await change.run(client, subject).catch((error: unknown) => error);
  stop();
  if (!died) {
    assert.ok(!(outcome instanceof Error), String(outcome));
    return undefined;
  }
  await client.close();
  await daemon.stop();
  for (const name of readdirSync(w.folder)) rmSync(join(w.folder, name));
  keep(saved, w.folder);
  return { subject, before };
}

for (const change of CHANGES) {
  test(`${change.name}: a death at every boundary, then the same key again`, async (t) => {
    let point = 0;
    for (; point < MAX_POINTS; point += 1) {
      await using w = await world();
      const left = await dying(w, change, point);
      if (left === undefined) break;
      // In turns: what a power cut leaves is less than what a kill leaves.
      if (point % 2 === 0) w.kernel.processDeath();
      const kernel = point % 2 === 0 ? w.kernel : w.kernel.powerCut();
      const logger = jsonLogger(() => undefined);
      await using daemon = await startDaemon({ ...w, kernel, logger, workers: "in-process" });
      await using client = await w.connect();
      const result = await change.run(client, left.subject);
      assert.deepEqual(await change.run(client, left.subject), result);
      assert.deepEqual(
        (await client.list()).map(({ name }) => name),
        change.devices,
      );
      assert.equal((await client.mounts()).length, change.references);
      assert.equal((await kernel.mounts.list()).length, change.references);
      if (change.transactions !== undefined) {
        assert.equal((await client.status()).transactionId, left.before + change.transactions);
      }
      await client.close();
      await daemon.stop({ teardown: true });
      assert.deepEqual(await kernel.leftovers(), []);
    }
    assert.ok(point > 0 && point < MAX_POINTS);
    t.diagnostic(`${point} boundaries`);
  });
}
