/**
 * The daemon dies by SIGKILL at each step of mounting, unmounting, the end of a lease and of a session;
 * the next one finds the device mounted with its holders known, or not mounted; block devices of its pool
 * that no record knows it takes away. Run as root in the lab.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { access, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import type { Daemon, Logger } from "@thinpool/mount-helper";
import { startDaemon } from "@thinpool/mount-helper";
import type { Client } from "@thinpool/sdk";
import { connect } from "@thinpool/sdk";
import { createPool, linuxKernel, openPool } from "@thinpool/thinpool";
import { firstOutput } from "./native-fixture.ts";
import { NODE_FLAGS } from "./runtime.ts";

const PROGRAM = new URL("killed-daemon.ts", import.meta.url).pathname;
const BACKING = { type: "files", dataBytes: 256n << 20n, metadataBytes: 8n << 20n } as const;
const DEVICE_BYTES = 64n << 20n;
const TEXT = "written before the daemon died";
/** The shortest there is. */
const LEASE_MS = 1_000;
const GRACE_MS = 1_000;
/** How long what is over may take to be gone. */
const GONE_TIMEOUT_MS = 30_000;

const kernel = linuxKernel();
let parent = "";
let folder = "";
let socketPath = "";

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-kill-");
  folder = join(parent, "pool");
  socketPath = `/run/thinpool/${parent.slice("/tmp/".length)}.sock`;
  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "one", sizeBytes: DEVICE_BYTES });
  await pool.detach();
});

after(async () => {
  const pool = await openPool({ folder, kernel });
  await pool.close();
  const left = (await kernel.dm.listDevices()).filter(({ name }) =>
    name.includes(pool.uuid.slice(0, 8)),
  );
  assert.deepEqual(left, []);
  await kernel[Symbol.asyncDispose]();
  await rm(parent, { recursive: true, force: true });
});

async function startKilled(
  point: string,
): Promise<{ child: ChildProcess; died: Promise<unknown> }> {
  const child = spawn(process.execPath, [...NODE_FLAGS, PROGRAM, folder, socketPath, point], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const died = once(child, "exit");
  await firstOutput(child);
  assert.equal(child.exitCode, null, "the daemon runs");
  return { child, died };
}

function startNext(logger: Logger = { log: () => undefined }): Promise<Daemon> {
  return startDaemon({
    folder,
    socketPath,
    kernel,
    logger,
    sessionGraceMs: GRACE_MS,
    workers: "in-process",
  });
}

/** It is told of the death, and does not come back by itself. */
function connectOnce(): Promise<Client> {
  return connect({ socketPath, reconnectTimeoutMs: 0 });
}

async function mountPoints(): Promise<readonly string[]> {
  const all = await kernel.mounts.list();
  return all
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path.startsWith("/run/thinpool/mounts/"));
}

/** Mounted with holders and active, or none of it. */
async function check(root: Client): Promise<number> {
  const held = await root.mounts();
  const { active } = await root.get({ name: "one" });
  const there = (await mountPoints()).length;
  assert.deepEqual([there, active], held.length > 0 ? [1, true] : [0, false]);
  return held.length;
}

async function untilGone(root: Client): Promise<void> {
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  while ((await mountPoints()).length > 0 || (await root.get({ name: "one" })).active) {
    assert.ok(performance.now() < deadline, "it is still there");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(await check(root), 0);
}

/** As if nothing had been: what was written is there, and all goes at the end. */
async function useAndEnd(root: Client, daemon: Daemon): Promise<void> {
  for (const { reference } of await root.mounts()) await root.release({ reference });
  const mount = await root.mount({ device: "one" });
  await writeFile(join(mount.path, "file"), TEXT);
  assert.equal(await readFile(join(mount.path, "file"), "utf8"), TEXT);
  assert.equal((await mount.release()).count, 0);
  assert.equal(await check(root), 0);
  await root.close();
  await daemon.stop();
}

const MOUNTING = [
  "before dm.createDevice",
  "after dm.createDevice",
  "after dm.loadTable",
  "after dm.resume",
  "before mounts.mount",
  "after mounts.mount",
];
const UNMOUNTING = [
  "before mounts.unmount",
  "after mounts.unmount",
  "before dm.removeDevice",
  "after dm.removeDevice",
];

for (const point of MOUNTING) {
  test(`${point}, in a mount`, async () => {
    const { died } = await startKilled(point);
    const client = await connectOnce();
    const mounting = client.mount({ device: "one", holder: { type: "permanent" } });
    await assert.rejects(mounting);
    await died;
    const daemon = await startNext();
    const root = await connect({ socketPath });
    assert.equal(await check(root), 0, "nobody was told of it");
    await useAndEnd(root, daemon);
  });
}

for (const point of UNMOUNTING) {
  test(`${point}, in the last release`, async () => {
    const { died } = await startKilled(point);
    const client = await connectOnce();
    const mount = await client.mount({ device: "one", holder: { type: "permanent" } });
    await assert.rejects(mount.release());
    await died;
    const daemon = await startNext();
    const root = await connect({ socketPath });
    assert.equal(await check(root), 0, "its holder gave it up");
    await useAndEnd(root, daemon);
  });

  test(`${point}, at the end of a lease`, async () => {
    const { died } = await startKilled(point);
    const client = await connectOnce();
    await client.mount({ device: "one", holder: { type: "lease", ttlMs: LEASE_MS } });
    // Else it would renew the lease.
    await client.close();
    await died;
    const daemon = await startNext();
    const root = await connect({ socketPath });
    await untilGone(root);
    await useAndEnd(root, daemon);
  });

  test(`${point}, at the end of a session`, async () => {
    const { died } = await startKilled(point);
    const client = await connectOnce();
    await client.mount({ device: "one" });
    await client.close();
    await died;
    const daemon = await startNext();
    const root = await connect({ socketPath });
    await untilGone(root);
    await useAndEnd(root, daemon);
  });
}

test("while a lease and a session hold it: both go on, and end in their time", async () => {
  const { child, died } = await startKilled("never");
  const client = await connectOnce();
  const lease = { holder: { type: "lease", ttlMs: 3_600_000 } } as const;
  const kept = await client.mount({ device: "one", ...lease });
  const second = await client.mount({ device: "one" });
  await writeFile(join(kept.path, "file"), TEXT);
  child.kill("SIGKILL");
  await died;
  assert.equal(await readFile(join(kept.path, "file"), "utf8"), TEXT, "mounted without a daemon");
  const daemon = await startNext();
  const root = await connect({ socketPath });
  const known = (await root.mounts()).map(({ reference }) => reference);
  assert.deepEqual(known.toSorted(), [kept.reference, second.reference].toSorted());
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  while ((await root.mounts()).length > 1) {
    assert.ok(performance.now() < deadline, "the session does not end");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const [left] = await root.mounts();
  assert.equal(left?.reference, kept.reference);
  assert.ok((await root.renew({ reference: kept.reference })).leaseLeftMs !== undefined);
  await useAndEnd(root, daemon);
});

test("a block device whose record is lost: the next daemon takes it away, and no other pool's", async () => {
  const { child, died } = await startKilled("never");
  const client = await connectOnce();
  const disk = await client.activate({ device: "one", holder: { type: "permanent" } });
  const poolNodes = dirname(dirname(disk.path));
  const dev = await kernel.blocks.number(disk.path);
  const other = join("/dev/thinpool", randomUUID(), "0", "one");
  await mkdir(dirname(other), { recursive: true });
  await kernel.blocks.makeNode(other, { dev, uid: 0, gid: 0, mode: 0o600 });
  child.kill("SIGKILL");
  await died;
  await access(disk.path);
  for (const name of await readdir(folder)) {
    if (name.startsWith("references.sqlite")) await rm(join(folder, name));
  }
  const events: string[] = [];
  await using daemon = await startNext({ log: (_level, event) => void events.push(event) });
  assert.ok(events.includes("node-without-record-removed"));
  await assert.rejects(access(poolNodes), { code: "ENOENT" });
  assert.deepEqual(await kernel.blocks.number(other), dev);
  await rm(dirname(dirname(other)), { recursive: true });
  await using root = await connect({ socketPath });
  assert.deepEqual(await root.mounts(), []);
  const again = await root.activate({ device: "one" });
  assert.equal(again.path, disk.path);
  assert.equal((await again.release()).count, 0);
  await useAndEnd(root, daemon);
});

test("while a session holds it whose client comes back: it goes on with the next daemon", async () => {
  const { child, died } = await startKilled("never");
  const client = await connect({ socketPath });
  const mount = await client.mount({ device: "one" });
  await writeFile(join(mount.path, "file"), TEXT);
  child.kill("SIGKILL");
  await died;
  const daemon = await startNext();
  const [known] = await client.mounts();
  assert.equal(known?.reference, mount.reference, "the client is back, without a word");
  await new Promise((resolve) => setTimeout(resolve, GRACE_MS * 3));
  assert.equal(await readFile(join(mount.path, "file"), "utf8"), TEXT);
  assert.equal((await mount.release()).count, 0);
  await client.close();
  const root = await connect({ socketPath });
  await useAndEnd(root, daemon);
});
