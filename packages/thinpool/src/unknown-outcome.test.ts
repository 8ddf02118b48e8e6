/**
 * A call of which nobody knows what it did: the thread that made it died before it could say so. That is
 * doubt (INV-7), not a refusal of the kernel's, and nothing stays suspended for it (INV-10).
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "./create-pool.ts";
import { openPool } from "./open-pool.ts";
import { Pool } from "./thin-pool.ts";

const SIZES = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
const DEVICE_BYTES = 16n << 20n;
let parent: string;
let kernel: SimKernel;
let pool: Pool;

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "thinpool-unknown-"));
});

after(() => rm(parent, { recursive: true }));

beforeEach(async () => {
  kernel = createSimKernel();
  const folder = await mkdtemp(join(parent, "pool-"));
  const policy = { giveBackRemoved: false };
  const made = await createPool({ folder, kernel, backing: SIZES, policy, monitor: false });
  assert.ok(made instanceof Pool);
  pool = made;
  for (const name of ["base", "live"]) {
    await pool.createDevice({ name, sizeBytes: DEVICE_BYTES, filesystem: "none" });
  }
  await pool.activate({ name: "live" });
});

/** The first such call has its effect, and the thread that made it is dead. */
function loseOutcomeOf(operation: string, detail = ""): void {
  const stop = kernel.onCall((call) => {
    if (call.phase !== "after" || call.operation !== operation) return;
    if (!call.detail.startsWith(detail)) return;
    stop();
    throw new Error("the thread of a waiting call ended");
  });
}

/** What opening anew finds: no thin device without a record, none lost, and all can be used. */
async function settled(names: readonly string[]): Promise<void> {
  await pool.detach();
  const again = await openPool({ folder: pool.folder, kernel, monitor: false });
  assert.deepEqual(
    again.list().map(({ name }) => name),
    names,
  );
  assert.deepEqual((await again.check()).findings, []);
  await again.snapshot({ origin: "live", name: "another" });
  await again.close();
  assert.deepEqual(await kernel.leftovers(), []);
}

for (const [origin, message, names] of [
  ["base", "create_snap", ["base", "live"]],
  ["base", "set_transaction_id", ["base", "live", "new"]],
  ["live", "create_snap", ["base", "live"]],
  ["live", "set_transaction_id", ["base", "live", "new"]],
] as const) {
  test(`snapshot of "${origin}": the outcome of ${message} is lost`, async () => {
    loseOutcomeOf("DM_TARGET_MSG", message);
    await assert.rejects(pool.snapshot({ origin, name: "new" }), { code: "POOL_DEGRADED" });
    await assert.rejects(pool.remove({ name: "base" }), { code: "POOL_DEGRADED" });
    await settled(names);
  });
}

test("removal: the outcome of delete is lost, in a run or by itself", async () => {
  loseOutcomeOf("DM_TARGET_MSG", "delete");
  const busy = { operation: "DM_TARGET_MSG", match: "delete", errno: "EBUSY" } as const;
  kernel.failNext(busy);
  await assert.rejects(pool.remove({ name: "base" }), { code: "POOL_DEGRADED" });
  await settled(["live"]);
});

test("the outcome of an origin's suspend is lost: it is resumed", async () => {
  loseOutcomeOf("DM_DEV_SUSPEND");
  await assert.rejects(pool.snapshot({ origin: "live", name: "new" }));
  const { path } = pool.get({ name: "live" });
  await kernel.write(path, 0, Buffer.alloc(4096));
  await settled(["base", "live"]);
});

test("the outcome of the pool's suspend is lost: it is resumed, and the growth goes on", async () => {
  loseOutcomeOf("DM_DEV_SUSPEND");
  await assert.rejects(pool.extend({ dataBytes: 512n << 20n }));
  const { path } = pool.get({ name: "live" });
  await kernel.write(path, 0, Buffer.alloc(4096));
  await pool.extend({ dataBytes: 512n << 20n });
  assert.equal((await pool.status()).dataTotalBytes, 512n << 20n);
  await settled(["base", "live"]);
});

test("the outcome of an activation is lost: no change until the pool was opened anew", async () => {
  loseOutcomeOf("DM_DEV_RESUME");
  await assert.rejects(pool.activate({ name: "base" }), { code: "POOL_DEGRADED" });
  await settled(["base", "live"]);
});
