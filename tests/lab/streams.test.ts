/**
 * Streams on a real kernel, as root: an image of root's through the worker that nobody is, and deaths of
 * the worker and of the daemon half way. Run as root in the lab.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "@thinpool/sdk";
import type { Client } from "@thinpool/sdk";
import { linuxKernel } from "@thinpool/thinpool";
import { inPieces, tarOf } from "../api/archives.ts";
import type { DaemonProcess } from "./daemon-process.ts";
import { daemonProcess } from "./daemon-process.ts";
import { kernelState } from "./kernel-state.ts";

const DEVICE_BYTES = 64n << 20n;
const GONE_TIMEOUT_MS = 60_000;
const MIB = 1 << 20;
/** Of a small filesystem under a pool. */
const HOST_BYTES = 96 * MIB;

const kernel = linuxKernel();
const before_ = kernelState();
let daemon: DaemonProcess;
let parent = "";

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-streams-");
  daemon = await daemonProcess(kernel, { imageBytes: DEVICE_BYTES });
});

after(async () => {
  await daemon[Symbol.asyncDispose]();
  await kernel[Symbol.asyncDispose]();
  await rm(parent, { recursive: true });
  assert.deepEqual(kernelState(), before_);
});

async function onlyTheBase(client: Client): Promise<void> {
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  const left = async (): Promise<number> => {
    const [devices, mounts] = [await client.list(), await client.mounts()];
    return devices.length - 1 + mounts.length;
  };
  while ((await left()) > 0) {
    assert.ok(performance.now() < deadline, `something is left\n${daemon.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(
    (await client.list()).map(({ name }) => name),
    ["base"],
  );
}

/** More than the window is on its way, so that its beginning can't be sent again; then it waits. */
function stuck(): { readonly source: AsyncIterable<Uint8Array>; readonly sent: Promise<unknown> } {
  const { promise: sent, resolve } = Promise.withResolvers<undefined>();
  const archive = tarOf([{ path: "large", body: Buffer.alloc(6 * MIB, "x").toString() }]);
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield* inPieces(archive.subarray(0, 4 * MIB), 50_000);
    resolve(undefined);
    await new Promise(() => undefined);
  };
  return { source: source(), sent };
}

test("root's image: its files are root's, whoever unpacked them, and it comes out as it went in", async () => {
  await using client = await connect({ socketPath: daemon.socketPath, timeoutMs: 120_000 });
  const file = join(parent, "sdk.tar");
  const tree = new URL("../../packages/sdk/src", import.meta.url).pathname;
  execFileSync("tar", ["--owner=1234", "--group=1234", "-cf", file, "-C", tree, "."]);
  const source = createReadStream(file);
  const made = await client.importImage({ name: "image", sizeBytes: DEVICE_BYTES, source });
  assert.equal(made.device.ownerUid, 0);
  {
    await using mount = await client.mount({ device: "image" });
    const { uid, gid } = await stat(join(mount.path, "index.ts"));
    assert.deepEqual([uid, gid], [0, 0]);
    execFileSync("diff", ["-r", "-x", "lost+found", tree, mount.path]);
  }
  const archive = client.exportDevice({ name: "image" });
  await client.importImage({ name: "second", sizeBytes: DEVICE_BYTES, source: archive });
  const again = client.exportDevice({ name: "second" });
  for await (const _part of again);
  assert.equal((await again.summary).sha256, (await archive.summary).sha256);
  for (const name of ["image", "second"]) await client.remove({ name });
  await onlyTheBase(client);
});

test("a full device is NO_SPACE by the entry's name, and nothing is left", async () => {
  await using client = await connect({ socketPath: daemon.socketPath, timeoutMs: 120_000 });
  const body = Buffer.alloc(8 * MIB, "x").toString();
  const source = async function* (): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < 20; index += 1) {
      yield* inPieces(tarOf([{ path: `file-${index}`, body }]).subarray(0, -1024), 50_000);
    }
  };
  const asked = { name: "full", sizeBytes: DEVICE_BYTES, source: source() };
  await assert.rejects(client.importImage(asked), { code: "NO_SPACE", object: /^"file-\d+"$/ });
  await onlyTheBase(client);
});

test("a full host is NO_SPACE, where it was full before and where it gets so meanwhile", async () => {
  const host = join(parent, "host");
  await mkdir(host);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${HOST_BYTES}`, "tmpfs", host]);
  try {
    await using small = await daemonProcess(kernel, { parent: host });
    await using client = await connect({ socketPath: small.socketPath, timeoutMs: 120_000 });
    const [large, end] = [
      tarOf([{ path: "large", body: "x".repeat(16 * MIB) }]),
      Buffer.alloc(1024),
    ];
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) yield* inPieces(large.subarray(0, -1024), 50_000);
    };
    const wish = { sizeBytes: 400n << 20n };
    const tooLarge = client.importImage({ name: "endless", ...wish, source: endless() });
    await assert.rejects(tooLarge, { code: "NO_SPACE", object: "the stream" });
    await onlyTheBase(client);
    // Another program takes the rest while the stream is on its way.
    const overtaken = async function* (): AsyncGenerator<Uint8Array> {
      yield* inPieces(large.subarray(0, -1024), 50_000);
      const { bavail, bsize } = await statfs(host);
      // What was sent is written back meanwhile, and may take some of it first.
      const filling = writeFile(join(host, "filling"), Buffer.alloc(bavail * bsize));
      await filling.catch((error: NodeJS.ErrnoException) => assert.equal(error.code, "ENOSPC"));
      yield end;
    };
    const filled = client.importImage({ name: "overtaken", ...wish, source: overtaken() });
    try {
      await assert.rejects(filled, { code: "NO_SPACE" });
    } finally {
      await rm(join(host, "filling"));
    }
    await onlyTheBase(client);
  } finally {
    execFileSync("umount", [host]);
  }
});

test("the worker dies half way: the call fails with its own code, and nothing is left", async () => {
  await using client = await connect({ socketPath: daemon.socketPath, timeoutMs: 120_000 });
  const { source, sent } = stuck();
  const work = client.importImage({ name: "orphan", sizeBytes: DEVICE_BYTES, source });
  const failed = assert.rejects(work, { code: "STREAM_LOST" });
  await sent;
  const workers = daemon.log().matchAll(/"event":"worker-ready".*"pid":(\d+)/g);
  process.kill(Number([...workers].at(-1)?.[1]), "SIGKILL");
  await failed;
  await onlyTheBase(client);
});

test("the daemon dies half way: nothing is left after its next start", async () => {
  await using client = await connect({ socketPath: daemon.socketPath, timeoutMs: 120_000 });
  const { source, sent } = stuck();
  const work = client.importImage({ name: "orphan", sizeBytes: DEVICE_BYTES, source });
  const failed = assert.rejects(work, { code: "STREAM_LOST" });
  await sent;
  await daemon.killAndRestart();
  await failed;
  await onlyTheBase(client);
});
