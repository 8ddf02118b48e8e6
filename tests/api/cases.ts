/**
 * The API as a user without privileges meets it, once for every daemon: the real one in the lab, and
 * the testing daemon. A case uses only what both promise.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { open, readFile, readlink, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { ChangedRange, Client, ExportSummary, Mount } from "@thinpool/sdk";
import { ThinpoolError, hasCode } from "@thinpool/sdk";
import { inPieces, tarOf, withChecksum } from "./archives.ts";

export interface Target {
  /** With an image named "base" that belongs to root. */
  connect(options?: { readonly timeoutMs?: number }): Promise<Client>;
  /** The daemon is gone and back; its clients are expected to go on. */
  restart(): Promise<void>;
  /** Whether the clients are root, who may do everything. */
  readonly isRoot: boolean;
  /** Whether the kernel's own metadata can be looked at. */
  readonly isReal: boolean;
}

const code =
  (wanted: Parameters<typeof hasCode>[1]) =>
  (error: unknown): boolean =>
    hasCode(error, wanted);

/** Far from what a filesystem has at its beginning. */
const DISK_OFFSET_BYTES = 48 << 20;

/** What is written is there, and it is not taken away from who has it open. */
async function useAsDisk(disk: Mount): Promise<void> {
  const written = Buffer.alloc(4096, "thinpool");
  await using file = await open(disk.path, "r+");
  await file.write(written, 0, written.length, DISK_OFFSET_BYTES);
  await file.sync();
  await assert.rejects(disk.release(), { code: "BUSY" });
  const { buffer } = await file.read(Buffer.alloc(4096), 0, 4096, DISK_OFFSET_BYTES);
  assert.deepEqual(buffer, written);
}

/** Its checksum and length seen to. */
async function exported(client: Client, name: string): Promise<ExportSummary> {
  const archive = client.exportDevice({ name });
  const sum = createHash("sha256");
  let bytes = 0;
  for await (const chunk of archive) {
    sum.update(chunk);
    bytes += chunk.length;
  }
  const summary = await archive.summary;
  assert.equal(summary.sha256, sum.digest("hex"));
  assert.equal(summary.streamBytes, BigInt(bytes));
  return summary;
}

export function apiCases(target: () => Target): void {
  test("clone, mount, write, read, release, remove", async () => {
    await using client = await target().connect();
    {
      await using clone = await client.clone({ origin: "base", name: "api-one" });
      assert.equal(clone.device.ownerUid, process.getuid?.());
      await using mount = await clone.mount();
      const { path } = mount;
      await writeFile(join(path, "file"), "mine alone");
      assert.equal(await readFile(join(path, "file"), "utf8"), "mine alone");
      const { state, deviceCount } = await client.status();
      assert.equal(state, "working");
      assert.ok(deviceCount >= 2);
    }
    assert.deepEqual(await client.mounts(), []);
    await assert.rejects(client.get({ name: "api-one" }), code("NOT_FOUND"));
  });

  test("a device that is mounted twice is released by the second release", async () => {
    await using client = await target().connect();
    await using clone = await client.clone({ origin: "base", name: "api-twice" });
    const first = await clone.mount();
    const second = await clone.mount();
    assert.equal(first.path, second.path);
    await assert.rejects(clone.remove(), code("BUSY"));
    assert.equal((await first.release()).count, 1);
    assert.equal((await second.release()).count, 0);
    await assert.rejects(second.release(), code("NOT_MOUNTED"));
  });

  test("an ephemeral clone goes with its last mount", async () => {
    await using client = await target().connect();
    const clone = await client.clone({ origin: "base", name: "api-short", ephemeral: true });
    const mount = await clone.mount();
    await mount.release();
    const gone = async (): Promise<boolean> =>
      !(await client.list()).some(({ name }) => name === "api-short");
    const deadline = performance.now() + 30_000;
    while (!(await gone()) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.ok(await gone());
  });

  test("a lease holds a mount without a session, and is renewed by the client", async () => {
    const client = await target().connect();
    await client.clone({ origin: "base", name: "api-leased" });
    const holder = { type: "lease", ttlMs: 3_000 } as const;
    const { reference } = await client.mount({ device: "api-leased", holder });
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    const held = (await client.mounts()).find((mount) => mount.reference === reference);
    assert.equal(held?.holder, "lease");
    assert.ok((held.leaseLeftMs ?? 0) > 0);
    const renewed = await client.renew({ reference, ttlMs: 60_000 });
    assert.ok((renewed.leaseLeftMs ?? 0) > 3_000);
    await client.close();
    await using later = await target().connect();
    assert.ok((await later.mounts()).some((mount) => mount.reference === reference));
    await later.release({ reference });
    await later.remove({ name: "api-leased" });
  });

  test("the same key is the same change; another call may not use it", async () => {
    await using client = await target().connect();
    const idempotencyKey = `key-${process.pid}`;
    const clone = await client.clone({ origin: "base", name: "api-key", idempotencyKey });
    const again = await client.clone({ origin: "base", name: "api-key", idempotencyKey });
    assert.equal(again.device.uuid, clone.device.uuid);
    const other = client.clone({ origin: "base", name: "api-other", idempotencyKey });
    await assert.rejects(other, code("KEY_REUSED"));
    await clone.remove();
  });

  test("the daemon is restarted: the client, its session and its mounts go on", async () => {
    await using client = await target().connect({ timeoutMs: 120_000 });
    const states: string[] = [];
    client.onState((state) => states.push(state));
    await using clone = await client.clone({ origin: "base", name: "api-restart" });
    await using mount = await clone.mount();
    await writeFile(join(mount.path, "file"), "before");
    await target().restart();
    const held = await client.mounts();
    assert.deepEqual(
      held.map(({ reference }) => reference),
      [mount.reference],
    );
    assert.equal(await readFile(join(mount.path, "file"), "utf8"), "before");
    assert.deepEqual(states, ["reconnecting", "connected"]);
  });

  test("several at one moment, labels, growth, going back, another name", async () => {
    await using client = await target().connect();
    const { devices } = client;
    const origin = "api-verbs";
    await client.clone({ origin: "base", name: origin });
    const { devices: made } = await devices.snapshotMany({
      snapshots: [
        { origin: "base", name: "api-then-base" },
        { origin, name: "api-then" },
      ],
    });
    assert.deepEqual(
      made.map(({ name }) => name),
      ["api-then-base", "api-then"],
    );
    const labelled = await devices.update({ name: origin, labels: { team: "storage" } });
    assert.deepEqual(labelled.labels, { team: "storage" });
    const { sizeBytes } = labelled;
    const grown = await devices.resize({ name: origin, sizeBytes: 2n * sizeBytes });
    assert.equal(grown.device.sizeBytes, 2n * sizeBytes);
    const back = await devices.revert({ name: origin, snapshot: "api-then" });
    assert.equal(back.sizeBytes, sizeBytes);
    if (target().isReal) {
      const usage = await client.usage();
      assert.ok(usage.devices.some(({ name, mappedBytes }) => name === origin && mappedBytes > 0n));
    }
    assert.equal((await devices.rename({ name: origin, to: "api-renamed" })).name, "api-renamed");
    for (const name of ["api-renamed", "api-then", "api-then-base"]) await client.remove({ name });
  });

  test("devices are found by their labels, their owner, and what they were made from", async () => {
    await using client = await target().connect();
    await using one = await client.clone({ origin: "base", name: "api-find-one" });
    await using two = await client.clone({ origin: one.name, name: "api-find-two" });
    const { devices } = client;
    await devices.update({ name: one.name, labels: { team: "storage", stage: "test" } });
    await devices.update({ name: two.name, labels: { team: "storage", stage: "live" } });
    const found = async (options: Parameters<Client["list"]>[0]): Promise<readonly string[]> =>
      (await client.list(options)).map(({ name }) => name);
    const both = ["api-find-one", "api-find-two"];
    assert.deepEqual(await found({ labels: { team: "storage" } }), both);
    assert.deepEqual(await found({ labels: { team: "storage", stage: "live" } }), ["api-find-two"]);
    // Names that a JavaScript object has by itself are labels like any other.
    const odd = { constructor: "x" };
    assert.deepEqual(await found({ labels: odd }), []);
    const { labels } = await devices.update({ name: one.name, labels: odd });
    assert.deepEqual(labels, { constructor: "x", stage: "test", team: "storage" });
    assert.deepEqual(await found({ labels: odd }), [one.name]);
    const bad = devices.update({ name: one.name, labels: { ["__proto__"]: "x" } });
    await assert.rejects(bad, code("INVALID_PARAMS"));
    assert.deepEqual(await found({ origin: "base" }), ["api-find-one"]);
    assert.deepEqual(await found({ origin: "api-find-one" }), ["api-find-two"]);
    assert.deepEqual(await found({ origin: "base", labels: { stage: "live" } }), []);
    const uid = process.getuid?.() ?? 0;
    assert.ok((await client.list({ ownerUid: uid })).every(({ ownerUid }) => ownerUid === uid));
    assert.deepEqual(await found({ ownerUid: 54_321 }), []);
    await assert.rejects(client.list({ origin: "api-none" }), code("NOT_FOUND"));
  });

  test("a list while others come and go has each that stays, once, by name", async () => {
    await using client = await target().connect();
    const stay = ["api-stay-a", "api-stay-b"];
    for (const name of stay) await client.clone({ origin: "base", name });
    const lists: Promise<readonly string[]>[] = [];
    for (const name of ["api-stay", "api-stay-aa", "api-stay-c"]) {
      const made = client.clone({ origin: "base", name });
      lists.push(client.list().then((devices) => devices.map((device) => device.name)));
      const removed = (await made).remove();
      lists.push(client.list().then((devices) => devices.map((device) => device.name)));
      await removed;
    }
    for (const names of await Promise.all(lists)) {
      assert.deepEqual(names, [...new Set(names)].toSorted());
      assert.deepEqual(
        names.filter((name) => stay.includes(name)),
        stay,
      );
    }
    for (const name of stay) await client.remove({ name });
  });

  test("the pool's forecast; a mounted device is trimmed", async () => {
    await using client = await target().connect();
    const { monitored, data, metadata } = await client.forecast();
    assert.equal(monitored, true);
    assert.ok(data !== undefined && metadata !== undefined);
    assert.ok(data.growthLimitBytes >= (await client.status()).dataTotalBytes);
    await using clone = await client.clone({ origin: "base", name: "api-trim" });
    const trim = { name: clone.name };
    await assert.rejects(client.devices.trim(trim), code("NOT_MOUNTED"));
    await using mount = await clone.mount();
    assert.equal(mount.device, clone.name);
    const trimmed = await client.devices.trim(trim);
    assert.ok(target().isReal ? trimmed > 0n : trimmed >= 0n);
    if (target().isRoot) return;
    await assert.rejects(client.devices.trim({ name: "base" }), code("FORBIDDEN"));
  });

  test("the ranges in which a device differs from what it was made from, in pages", async () => {
    await using client = await target().connect();
    await using one = await client.clone({ origin: "base", name: "api-newer" });
    {
      await using mount = await one.mount();
      for (const name of ["a", "b"]) {
        await writeFile(join(mount.path, name), Buffer.alloc(1 << 20, name));
      }
    }
    const pages = async (pageRanges: number): Promise<readonly ChangedRange[]> => {
      const asked = { name: one.name, from: "base", pageRanges };
      const ranges: ChangedRange[] = [];
      for await (const range of client.devices.changedBlocks(asked)) ranges.push(range);
      return ranges;
    };
    const ranges = await pages(16_384);
    // In the simulation all files of a device lie in one piece.
    if (target().isReal) assert.ok(ranges.length > 1);
    assert.deepEqual(await pages(1), ranges);
    const ends = ranges.map(({ offsetBytes, lengthBytes }) => offsetBytes + lengthBytes);
    assert.ok(ranges.every((range, index) => range.offsetBytes >= (ends[index - 1] ?? 0n)));
    assert.ok((ends.at(-1) ?? 0n) <= one.device.sizeBytes);
    const none = client.devices.changedBlocks({ name: one.name, from: "api-none" });
    await assert.rejects(none.next(), code("NOT_FOUND"));
  });

  test("the pool is checked, backed up and extended by administrators only", async () => {
    await using client = await target().connect();
    const { pool } = client;
    if (!target().isRoot) {
      await assert.rejects(pool.check(), code("FORBIDDEN"));
      await assert.rejects(pool.backup(), code("FORBIDDEN"));
      await assert.rejects(pool.backups(), code("FORBIDDEN"));
      await assert.rejects(pool.extend({ dataBytes: 1n << 40n }), code("FORBIDDEN"));
      await assert.rejects(pool.spacePolicy(), code("FORBIDDEN"));
      await assert.rejects(pool.setSpacePolicy({ dataFloorBytes: 1n }), code("FORBIDDEN"));
      return;
    }
    const { metadata, findings } = await pool.check({ mappings: true });
    assert.deepEqual({ metadata, findings }, { metadata: "clean", findings: [] });
    const { transactionId } = await client.status();
    const backup = await pool.backup({ keep: 1 });
    assert.equal(backup.transactionId, transactionId);
    assert.deepEqual(await pool.backups(), [backup]);
    const { dataTotalBytes } = await client.status();
    const dataBytes = dataTotalBytes + (64n << 20n);
    assert.equal((await pool.extend({ dataBytes })).outcome, "extended");
    assert.equal((await pool.extend({ dataBytes })).outcome, "already-so");
    assert.equal((await client.status()).dataTotalBytes, dataBytes);
    const before = await pool.spacePolicy();
    const change = { dataFloorBytes: 1n << 20n, dataGrowth: { ceilingBytes: dataBytes } };
    const { outcome, policy } = await pool.setSpacePolicy(change);
    assert.equal(outcome, "changed");
    const { stepBytes } = before.dataGrowth;
    assert.deepEqual(policy, {
      ...before,
      dataFloorBytes: 1n << 20n,
      dataGrowth: { enabled: true, stepBytes, ceilingBytes: dataBytes },
    });
    assert.equal((await pool.setSpacePolicy(change)).outcome, "already-so");
    const { dataFloorBytes } = before;
    await pool.setSpacePolicy({ dataFloorBytes, dataGrowth: { ceilingBytes: null } });
    assert.deepEqual(await pool.spacePolicy(), before);
    const ratio = { overProvisioning: { mode: "ratio", ratio: 0.5 } } as const;
    await assert.rejects(pool.setSpacePolicy(ratio), code("INVALID_PARAMS"));
  });

  test("events: the state, then what happens; from a number on the same once more", async () => {
    await using client = await target().connect();
    const seen: string[] = [];
    let begin: number | undefined;
    const follow = async (after?: number): Promise<void> => {
      for await (const event of client.events(after === undefined ? {} : { after })) {
        if (event.type === "state") {
          assert.equal(event.because, "start");
          assert.deepEqual(
            event.devices.map(({ name }) => name),
            ["base"],
          );
          begin = event.number;
          await using clone = await client.clone({ origin: "base", name: "api-event" });
          await using mount = await clone.mount();
          assert.equal(mount.device, clone.name);
        } else if ("name" in event && event.name === "api-event") {
          seen.push(event.type);
          if (event.type === "device-removed") return;
        }
      }
    };
    await follow();
    const whole = ["created", "activated", "deactivated", "removed"];
    assert.deepEqual(
      seen,
      whole.map((type) => `device-${type}`),
    );
    await follow(begin);
    assert.deepEqual(seen.slice(4), seen.slice(0, 4));
  });

  test("a clone as a block device: one's own, never mounted beside it", async (t) => {
    if (!target().isReal && !target().isRoot) {
      t.skip("takes a policy that lets users have block devices, or root");
      return;
    }
    await using client = await target().connect();
    await using clone = await client.clone({ origin: "base", name: "api-disk" });
    {
      await using disk = await clone.activate();
      assert.match(disk.path, /\/api-disk$/);
      const [entry] = await client.mounts();
      assert.deepEqual([entry?.block, entry?.path], [true, disk.path]);
      await assert.rejects(clone.mount(), { code: "BUSY" });
      await assert.rejects(clone.remove(), { code: "BUSY" });
      const again = await clone.activate();
      assert.equal((await again.release()).count, 1);
      if (target().isReal) await useAsDisk(disk);
    }
    await using mount = await clone.mount();
    assert.equal(mount.device, clone.name);
    await assert.rejects(clone.activate(), { code: "BUSY" });
  });

  test("an image from a tar stream, with its checksum; the files of a device as one", async () => {
    await using client = await target().connect();
    const archive = tarOf([
      { type: "folder", path: "bin/" },
      { path: "bin/tool", mode: 0o4755, body: "#!/bin/sh\n" },
      { type: "symlink", path: "bin/out", linkPath: "../../etc/passwd" },
      { type: "hard link", path: "tool", linkPath: "bin/tool" },
      { path: `${"long/".repeat(60)}ä.txt`, body: "x".repeat(3_000_000) },
    ]);
    const sha256 = createHash("sha256").update(archive).digest("hex");
    const streamBytes = BigInt(archive.length);
    const name = "api-import";
    let done = 0n;
    const { device, content } = await client.importImage({
      ...{ name, origin: "base", labels: { team: "storage" }, streamBytes, sha256 },
      source: inPieces(archive, 100_000),
      onProgress: (progress) => {
        assert.ok(progress.done > done || progress.done === streamBytes);
        done = progress.done;
      },
    });
    assert.deepEqual(content, { entries: 5, streamBytes, sha256, withoutSetId: 1 });
    assert.equal(done, streamBytes);
    assert.deepEqual([device.ownerUid, device.active], [process.getuid?.(), false]);
    assert.deepEqual(device.labels, { team: "storage" });
    assert.deepEqual(await client.mounts(), []);
    const first = await exported(client, name);
    {
      await using mount = await client.mount({ device: name });
      const path = (inner: string): string => join(mount.path, inner);
      assert.equal(await readFile(path("tool"), "utf8"), "#!/bin/sh\n");
      const { mode, nlink, uid } = await stat(path("bin/tool"));
      assert.deepEqual([mode & 0o7777, nlink, uid], [0o755, 2, process.getuid?.()]);
      assert.equal(await readlink(path("bin/out")), "../../etc/passwd");
      assert.equal((await stat(path(`${"long/".repeat(60)}ä.txt`))).size, 3_000_000);
      // Of a mounted device it is the files of this moment.
      await writeFile(path("more"), "more");
      const { entries } = await exported(client, name);
      assert.equal(entries, first.entries + 1);
    }
    await client.remove({ name });
    // What came out goes in again, and is the same.
    await client.importImage({ name, origin: "base", source: inPieces(archive, 4_096) });
    const source = client.exportDevice({ name });
    await client.importImage({ name: "api-again", origin: "base", source });
    const again = await exported(client, "api-again");
    assert.deepEqual(again, await exported(client, name));
    await client.remove({ name: "api-again" });
    await client.remove({ name });
  });

  test("a stream that is refused or given up leaves nothing", async () => {
    await using client = await target().connect();
    const node = tarOf([{ path: "fine", body: "x" }]);
    node[156] = "3".charCodeAt(0);
    const summed = withChecksum(node);
    const asked = { origin: "base", source: inPieces(summed, 512) };
    await assert.rejects(client.importImage({ ...asked, name: "api-node" }), (error) => {
      assert.ok(hasCode(error, "ARCHIVE_REFUSED"));
      assert.equal(error.object, '"fine"');
      return true;
    });
    const fine = tarOf([{ path: "a", body: "a" }]);
    const wrong = { origin: "base", sha256: "0".repeat(64), source: inPieces(fine, 512) };
    const mismatch = client.importImage({ ...wrong, name: "api-sum" });
    await assert.rejects(mismatch, code("CHECKSUM_MISMATCH"));
    const stop = new AbortController();
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (let sent = 0; ; sent += 1) {
        yield tarOf([{ path: `file-${sent}`, body: "y".repeat(200_000) }]).subarray(0, -1024);
        if (sent === 20) stop.abort();
      }
    };
    const given = { name: "api-given-up", origin: "base", source: endless() };
    await assert.rejects(client.importImage({ ...given, signal: stop.signal }), code("ABORTED"));
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield fine.subarray(0, 512);
      await Promise.reject(new Error("the source is gone"));
    };
    const failing = client.importImage({ name: "api-broken", origin: "base", source: broken() });
    await assert.rejects(failing, /the source is gone/);
    for await (const chunk of client.exportDevice({ name: "base" })) {
      assert.ok(chunk.length > 0);
      break;
    }
    // A call that was given up is wound up after its caller has gone on.
    const deadline = performance.now() + 30_000;
    while ((await client.list()).length > 1 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual(
      (await client.list()).map(({ name }) => name),
      ["base"],
    );
    assert.deepEqual(await client.mounts(), []);
    if (target().isRoot) return;
    const source = inPieces(fine, 512);
    await assert.rejects(client.importImage({ name: "api-new", source }), code("FORBIDDEN"));
  });

  test("errors say what, of what, and what to do", async () => {
    await using client = await target().connect();
    await assert.rejects(client.clone({ origin: "none", name: "api-x" }), (error) => {
      assert.ok(error instanceof ThinpoolError);
      assert.equal(error.code, "NOT_FOUND");
      assert.equal(error.operation, "device.clone");
      assert.equal(error.object, "none");
      assert.ok(error.hint.length > 0);
      return true;
    });
    await assert.rejects(client.get({ name: "../x" }), code("NAME_INVALID"));
    if (!target().isRoot) {
      await assert.rejects(client.create({ name: "api-x" }), code("FORBIDDEN"));
      await assert.rejects(client.remove({ name: "base" }), code("FORBIDDEN"));
      await assert.rejects(client.mount({ device: "base" }), code("FORBIDDEN"));
    }
  });

  test("a signal ends a call; a closed client says so", async () => {
    const client = await target().connect();
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(client.status({ signal }), code("ABORTED"));
    await client.close();
    await assert.rejects(client.status(), code("CLIENT_CLOSED"));
    assert.equal(client.state, "closed");
  });

  test("nothing of the cases is left", async () => {
    await using client = await target().connect();
    assert.deepEqual(
      (await client.list()).map(({ name }) => name),
      ["base"],
    );
    assert.deepEqual(await client.mounts(), []);
  });
}
