/** The SDK and the daemon over a real Unix socket, on the simulated kernel: no root needed. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { lstat, readdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import { hasCode } from "@thinpool/sdk";
import { createPool, destroyPool } from "@thinpool/thinpool";
import { BACKING, DEVICE_BYTES, world } from "./sim-world.ts";

/** As docs/POLICY.md has it. */
const MAX_TOKENS_PER_UID = 128;
const HOUR_MS = 3_600_000;

test("clone, mount twice, release twice, remove: counts, folders, audit, nothing left", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  const clone = await client.clone({ origin: "base", name: "one" });
  assert.equal(clone.device.sizeBytes, DEVICE_BYTES);
  assert.equal(clone.device.ownerUid, process.geteuid?.());
  const first = await clone.mount();
  const second = await clone.mount();
  assert.equal(first.path, second.path);
  assert.equal(first.path, join(w.mountRoot, String(process.geteuid?.()), "one"));
  assert.equal((await stat(w.mountRoot)).mode & 0o777, 0o711);
  assert.equal((await stat(join(first.path, ".."))).mode & 0o777, 0o700);
  assert.equal((await client.get({ name: "one" })).active, true);
  assert.deepEqual(
    (await client.mounts()).map(({ count }) => count),
    [2, 2],
  );
  await assert.rejects(clone.remove(), (error) => hasCode(error, "BUSY"));
  assert.deepEqual(await first.release(), { device: "one", count: 1 });
  await assert.rejects(first.release(), (error) => hasCode(error, "NOT_MOUNTED"));
  assert.equal((await w.kernel.mounts.list()).length, 1);
  assert.deepEqual(await second.release(), { device: "one", count: 0 });
  assert.deepEqual(await w.kernel.mounts.list(), []);
  assert.equal((await client.get({ name: "one" })).active, false);
  assert.deepEqual(await readdir(join(second.path, "..")), []);
  await clone.remove();
  await assert.rejects(client.get({ name: "one" }), (error) => hasCode(error, "NOT_FOUND"));
  const audited = w.log
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === "audit")
    .map(({ method, outcome }) => `${String(method)} ${String(outcome)}`);
  assert.deepEqual(audited, [
    "device.clone done",
    "mount.create done",
    "mount.create done",
    "device.remove BUSY",
    "mount.release done",
    "mount.release NOT_MOUNTED",
    "mount.release done",
    "device.remove done",
  ]);
  await daemon.stop({ teardown: true });
  assert.deepEqual(await w.kernel.leftovers(), []);
});

test("mounts are nosuid and nodev, with the filesystem's fixed options", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  await using clone = await client.clone({ origin: "base", name: "one" });
  await using mount = await clone.mount();
  const [info] = await w.kernel.mounts.list();
  assert.equal(info?.mountPoint, mount.path);
  assert.ok(info.options.includes("nosuid") && info.options.includes("nodev"));
  assert.ok(info.superOptions.includes("errors=remount-ro"));
  assert.ok(daemon.socketPath);
});

test("the tokens of an ephemeral clone go with it, and take no room from others", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  for (let made = 0; made <= MAX_TOKENS_PER_UID; made += 1) {
    const clone = await client.clone({ origin: "base", name: `job-${made}`, ephemeral: true });
    const token = { device: clone.name, allow: ["clone"], lifetimeMs: HOUR_MS } as const;
    await client.rights.createToken(token);
    await using _mount = await clone.mount();
  }
  assert.deepEqual(await client.rights.tokens(), []);
  await daemon.stop({ teardown: true });
});

test("a daemon that stops keeps its mounts, the next one knows them and their counts", async () => {
  await using w = await world();
  const before = await w.start();
  await using client = await w.connect();
  await client.clone({ origin: "base", name: "one" });
  await client.clone({ origin: "base", name: "two" });
  const held = [
    await client.mount({ device: "one" }),
    await client.mount({ device: "one" }),
    await client.mount({ device: "two" }),
  ];
  const known = await client.mounts();
  await before.stop();
  assert.equal(client.state, "reconnecting");
  const meanwhile = client.status({ timeoutMs: 50 });
  await assert.rejects(meanwhile, (error) => hasCode(error, "TIMEOUT"));
  await assert.rejects(w.connect(), (error) => hasCode(error, "DAEMON_UNREACHABLE"));
  assert.equal((await w.kernel.mounts.list()).length, 2);
  const after = await w.start();
  assert.deepEqual(await client.mounts(), known, "the same client goes on");
  await using again = await w.connect();
  assert.deepEqual(await again.mounts(), known);
  for (const { reference } of held) await again.release({ reference });
  assert.deepEqual(await w.kernel.mounts.list(), []);
  await after.stop({ teardown: true });
  assert.deepEqual(await w.kernel.leftovers(), []);
});

test("after a power cut the records of the mounts that are gone are dropped", async () => {
  await using w = await world();
  const before = await w.start();
  const client = await w.connect();
  await client.clone({ origin: "base", name: "one" });
  await client.mount({ device: "one" });
  await before.stop();
  const kernel = w.kernel.powerCut();
  const logger = jsonLogger((line) => w.log.push(line));
  await using after = await startDaemon({ ...w, kernel, logger, workers: "in-process" });
  await using again = await w.connect();
  assert.deepEqual(await again.mounts(), []);
  assert.ok(w.log.some((line) => line.includes("record-dropped")));
  const mount = await again.mount({ device: "one" });
  assert.equal((await mount.release()).count, 0);
  await after.stop({ teardown: true });
  assert.deepEqual(await kernel.leftovers(), []);
});

test("a mount in use is BUSY at its last release, and stays held", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  await using clone = await client.clone({ origin: "base", name: "one" });
  await using mount = await clone.mount();
  const letGo = w.kernel.holdMount(mount.path);
  await assert.rejects(mount.release(), (error) => hasCode(error, "BUSY") && error.retryable);
  assert.equal((await client.mounts()).length, 1);
  letGo();
  assert.equal((await mount.release()).count, 0);
  assert.ok(daemon.socketPath);
});

test("a mount that fails leaves the device inactive, no folder and no record", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  await using clone = await client.clone({ origin: "base", name: "one" });
  w.kernel.failNext({ operation: "mount", errno: "EIO" });
  await assert.rejects(clone.mount(), (error) => hasCode(error, "INTERNAL"));
  assert.equal((await client.get({ name: "one" })).active, false);
  assert.deepEqual(await client.mounts(), []);
  assert.deepEqual(await readdir(join(w.mountRoot, String(process.geteuid?.()))), []);
  await using mount = await clone.mount();
  assert.ok(mount.path && daemon.socketPath);
});

test("a mount that was undone by hand: no further reference to it, and releasing cleans up", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  const clone = await client.clone({ origin: "base", name: "one" });
  const lost = await clone.mount();
  await w.kernel.mounts.unmount(lost.path);
  assert.deepEqual(await lost.release(), { device: "one", count: 0 });
  assert.equal((await client.get({ name: "one" })).active, false);
  const again = await clone.mount();
  await w.kernel.mounts.unmount(again.path);
  const fresh = await clone.mount();
  assert.equal((await w.kernel.mounts.list()).length, 1);
  await assert.rejects(again.release(), (error) => hasCode(error, "NOT_MOUNTED"));
  assert.deepEqual(await fresh.release(), { device: "one", count: 0 });
  await daemon.stop({ teardown: true });
});

test("many at once: one device's operations take turns, the counts add up", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  const names = ["a", "b", "c", "d"];
  const clones = await Promise.all(names.map((name) => client.clone({ origin: "base", name })));
  const mounts = await Promise.all(
    Array.from({ length: 40 }, (_, index) => (clones[index % 4] ?? assert.fail()).mount()),
  );
  assert.equal((await w.kernel.mounts.list()).length, 4);
  assert.ok((await client.mounts()).every(({ count }) => count === 10));
  await Promise.all(mounts.map((mount) => mount.release()));
  assert.deepEqual(await w.kernel.mounts.list(), []);
  const raced = await Promise.allSettled(
    Array.from({ length: 4 }, () => client.clone({ origin: "base", name: "same" })),
  );
  assert.equal(raced.filter(({ status }) => status === "fulfilled").length, 1);
  await daemon.stop({ teardown: true });
});

test("bad input: names, a second daemon, a socket that is somebody else's", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  for (const name of ["", "a/b", "..", "x".repeat(65), "a\0b"]) {
    await assert.rejects(client.get({ name }), (error) => hasCode(error, "NAME_INVALID"));
  }
  await client.clone({ origin: "base", name: "one" });
  await assert.rejects(client.clone({ origin: "base", name: "one" }), (error) =>
    hasCode(error, "EXISTS"),
  );
  await assert.rejects(client.clone({ origin: "nobody", name: "two" }), (error) =>
    hasCode(error, "NOT_FOUND"),
  );
  await assert.rejects(w.start(), { code: "POOL_LOCKED" });
  const other = join(w.parent, "other");
  const pool = await createPool({ folder: other, kernel: w.kernel, backing: BACKING });
  await pool.detach();
  const { kernel, mountRoot, socketPath } = w;
  await assert.rejects(
    startDaemon({ folder: other, kernel, mountRoot, socketPath, workers: "in-process" }),
    {
      code: "SOCKET_IN_USE",
    },
  );
  assert.equal((await client.status()).state, "working");
  const file = join(w.parent, "run", "file");
  await writeFile(file, "");
  await assert.rejects(
    startDaemon({ folder: other, kernel, mountRoot, socketPath: file, workers: "in-process" }),
    {
      code: "SOCKET_IN_USE",
    },
  );
  const foreign = join(w.parent, "run", "foreign.sock");
  const server = createServer().listen(foreign);
  await assert.rejects(
    startDaemon({ folder: other, kernel, mountRoot, socketPath: foreign, workers: "in-process" }),
    {
      code: "SOCKET_IN_USE",
    },
  );
  server.close();
  await daemon.stop({ teardown: true });
});

test("the socket is for its owner and group only, and goes with the daemon", async () => {
  await using w = await world();
  const daemon = await w.start();
  const { mode } = await lstat(w.socketPath);
  assert.ok([0o600, 0o660].includes(mode & 0o777), mode.toString(8));
  await daemon.stop();
  await assert.rejects(lstat(w.socketPath), { code: "ENOENT" });
});

test("a destroyed pool takes the daemon's records along: the next one in its folder knows no old key or token", async () => {
  await using w = await world();
  const { folder, kernel } = w;
  const again = { origin: "base", name: "one", idempotencyKey: randomUUID() };
  {
    await using daemon = await w.start();
    await using client = await w.connect();
    await client.rights.createConnectToken({ lifetimeMs: 3_600_000 });
    await (await client.clone(again)).remove();
    await daemon.stop({ teardown: true });
  }
  await destroyPool({ folder, kernel });
  await assert.rejects(lstat(folder), { code: "ENOENT" });

  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.detach();
  await using _daemon = await w.start();
  await using client = await w.connect();
  assert.deepEqual(await client.rights.connectTokens(), []);
  const { device } = await client.clone(again);
  assert.equal((await client.get({ name: "one" })).uuid, device.uuid);
});
