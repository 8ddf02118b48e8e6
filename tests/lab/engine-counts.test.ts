/**
 * What an operation costs, counted on the kernel: times are noisy, these numbers are exact. Each message
 * makes the pool commit its metadata, each commit of the ledger is one fsync.
 */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DM_IOCTL_CHANNEL, type DmIoctlMessage } from "@thinpool/dm-native";
import { createPool, linuxKernel, type ThinPool } from "@thinpool/thinpool";

const kernel = linuxKernel();
const DEVICE_BYTES = 64n << 20n;
let parent: string;
let pool: ThinPool;

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-counts-");
  pool = await createPool({
    folder: join(parent, "pool"),
    kernel,
    backing: { type: "files", dataBytes: 1n << 30n, metadataBytes: 8n << 20n },
    // Its looks, which every event brings about, are no part of an operation.
    monitor: false,
  });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
});

after(async () => {
  await pool.close();
  await kernel[Symbol.asyncDispose]();
  await rm(parent, { recursive: true });
});

/** Durable commits of the ledger so far; not part of the interface, for tests only. */
function commits(): number {
  const counted: unknown = Reflect.get(pool, "commits");
  assert.ok(typeof counted === "number");
  return counted;
}

/** The ioctls and commits of one operation alone. */
async function cost(operation: () => Promise<unknown>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const count = (message: unknown): void => {
    const { command, errno } = message as DmIoctlMessage;
    assert.equal(errno, 0, command);
    counts[command] = (counts[command] ?? 0) + 1;
  };
  const commitsBefore = commits();
  subscribe(DM_IOCTL_CHANNEL, count);
  try {
    await operation();
  } finally {
    unsubscribe(DM_IOCTL_CHANNEL, count);
  }
  return { ...counts, commits: commits() - commitsBefore };
}

test("a snapshot with its activation: one commit, two messages, three device ioctls", async () => {
  assert.deepEqual(
    await cost(() => pool.snapshot({ origin: "base", name: "clone", activate: true })),
    { DM_TARGET_MSG: 2, DM_DEV_CREATE: 1, DM_TABLE_LOAD: 1, DM_DEV_RESUME: 1, commits: 1 },
  );
});

test("a snapshot of an active origin: suspended and resumed, nothing more", async () => {
  assert.deepEqual(await cost(() => pool.snapshot({ origin: "clone", name: "second" })), {
    DM_DEV_SUSPEND: 1,
    DM_DEV_RESUME: 1,
    DM_TARGET_MSG: 2,
    commits: 1,
  });
});

test("activation and deactivation: no commit", async () => {
  assert.deepEqual(await cost(() => pool.activate({ name: "second" })), {
    DM_DEV_CREATE: 1,
    DM_TABLE_LOAD: 1,
    DM_DEV_RESUME: 1,
    commits: 0,
  });
  // The status tells the name of the node that goes with the device.
  assert.deepEqual(await cost(() => pool.deactivate({ name: "second" })), {
    DM_DEV_STATUS: 1,
    DM_DEV_REMOVE: 1,
    commits: 0,
  });
});

test("a removal that gives nothing back to the host: one commit, two messages", async () => {
  await pool.setPolicy({ giveBackRemoved: false });
  assert.deepEqual(await cost(() => pool.remove({ name: "second" })), {
    DM_TARGET_MSG: 2,
    commits: 1,
  });
  assert.deepEqual(await cost(() => pool.remove({ name: "clone" })), {
    DM_DEV_STATUS: 1,
    DM_DEV_REMOVE: 1,
    DM_TARGET_MSG: 2,
    commits: 1,
  });
});

test("reading costs neither", async () => {
  const read = async (): Promise<void> => {
    pool.list();
    pool.get({ name: "base" });
    pool.has({ name: "x" });
  };
  assert.deepEqual(await cost(read), { commits: 0 });
  assert.deepEqual(await cost(() => pool.status()), { DM_TABLE_STATUS_NOFLUSH: 1, commits: 0 });
});
