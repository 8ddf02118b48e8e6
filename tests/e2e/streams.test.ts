/**
 * Byte streams over the whole way, client, daemon, simulated kernel: cut before and after each of their
 * messages, with slow readers, given up half way, with daemons that die.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { MAX_STREAM_PAYLOAD_BYTES, STREAM_WINDOW_BYTES, encodeRequest } from "@thinpool/protocol";
import { connect } from "@thinpool/sdk";
import type { Client } from "@thinpool/sdk";
import { WebSocket } from "ws";
import { inPieces, tarOf } from "../api/archives.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import type { Cut } from "./cutting-proxy.ts";
import type { World } from "./sim-world.ts";
import { DEVICE_BYTES, world } from "./sim-world.ts";

/** Some parts long, so that a cut can be in the middle. */
const CONTENT = "0123456789abcdef".repeat((5 * MAX_STREAM_PAYLOAD_BYTES) / 16);
const ARCHIVE = tarOf([
  { type: "folder", path: "folder/" },
  { path: "folder/file", body: CONTENT },
]);
const SHA256 = createHash("sha256").update(ARCHIVE).digest("hex");
const asked = { sizeBytes: DEVICE_BYTES, filesystem: "ext4" } as const;

async function devicesOf(client: Client): Promise<readonly string[]> {
  return (await client.list()).map(({ name }) => name);
}

/** What a call left is wound up after its caller has gone on. */
async function nothingIsLeft(w: World, client: Client, devices = ["base"]): Promise<void> {
  const deadline = performance.now() + 10_000;
  const isThere = async (): Promise<boolean> => {
    const mounts = await w.kernel.mounts.list();
    return mounts.length > 0 || (await devicesOf(client)).length > devices.length;
  };
  while (await isThere()) {
    assert.ok(performance.now() < deadline, "something is left");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(await devicesOf(client), devices);
}

async function collect(archive: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part);
  return Buffer.concat(parts);
}

test("cut at every message of a stream in and a stream out: each happens once, whole", async (t) => {
  await using w = await world();
  await using daemon = await w.start();
  const path = join(w.parent, "proxy");
  await using proxy = await CuttingProxy.listen(daemon.socketPath, { path });
  const { socketPath } = proxy;
  let first: Buffer | undefined;
  const run = async (cut: Cut | undefined): Promise<void> => {
    await using client = await connect({ socketPath });
    proxy.arm(cut);
    const source = inPieces(ARCHIVE, 50_000);
    const { device, content } = await client.importImage({ ...asked, name: "made", source });
    assert.deepEqual(content, {
      ...{ entries: 2, streamBytes: BigInt(ARCHIVE.length), sha256: SHA256, withoutSetId: 0 },
    });
    assert.deepEqual([device.name, device.active], ["made", false]);
    const archive = client.exportDevice({ name: "made" });
    const bytes = await collect(archive);
    first ??= bytes;
    assert.deepEqual(bytes, first);
    const { sha256, entries } = await archive.summary;
    assert.equal(sha256, createHash("sha256").update(bytes).digest("hex"));
    assert.equal(entries, 2);
    await client.remove({ name: "made" });
    await nothingIsLeft(w, client);
  };
  await run(undefined);
  const totals = { ...proxy.seen };
  assert.ok(totals["to-daemon"] > 8 && totals["to-client"] > 8);
  let cuts = 0;
  for (const direction of ["to-daemon", "to-client"] as const) {
    for (let index = 0; index < totals[direction]; index += 1) {
      for (const when of ["before", "after"] as const) {
        await run({ index, direction, when });
        // Windows are told of as it comes: the last messages of a run may be fewer than the first time.
        cuts += proxy.cuts;
      }
    }
  }
  assert.ok(cuts > totals["to-daemon"] + totals["to-client"], `${cuts} cuts`);
  t.diagnostic(`${cuts} cuts`);
});

test("an archive that the host has no room for is not begun", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  const wish = () => ({ ...asked, name: "made", source: inPieces(ARCHIVE, 50_000) });
  // More than any filesystem has.
  const importing = client.importImage({ ...wish(), streamBytes: 1n << 60n });
  await assert.rejects(importing, { code: "NO_SPACE" });
  assert.deepEqual(await devicesOf(client), ["base"]);
  const streamBytes = BigInt(ARCHIVE.length);
  const { device } = await client.importImage({ ...wish(), streamBytes });
  assert.equal(device.name, "made");
});

test("a slow reader is sent no more than the window; a slow daemon neither", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  const large = "x".repeat(3 * STREAM_WINDOW_BYTES);
  let read = 0;
  let taken = 0n;
  const source = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of inPieces(tarOf([{ path: "large", body: large }]), 10_000)) {
      read += piece.length;
      assert.ok(BigInt(read) <= taken + BigInt(STREAM_WINDOW_BYTES + piece.length));
      yield piece;
    }
  };
  const onProgress = ({ done }: { readonly done: bigint }): void => void (taken = done);
  await client.importImage({ ...asked, name: "large", source: source(), onProgress });
  assert.equal(taken, BigInt(read));
  // By hand: a client that never moves its window.
  const socket = new WebSocket("ws://localhost/", ["thinpool.v1"], {
    createConnection: () => createConnection(w.socketPath),
  });
  let parts = 0;
  const opened = Promise.withResolvers<number>();
  socket.on("message", (data: Buffer, isBinary) => {
    if (isBinary) parts += data.length;
    else if (data.includes("stream.opened")) {
      opened.resolve((JSON.parse(data.toString()) as { params: { stream: number } }).params.stream);
    }
  });
  await once(socket, "open");
  socket.send(encodeRequest(1, "device.export", { name: "large" }));
  const stream = await opened.promise;
  const params = { stream, taken: "0", window: "9007199254740991" };
  socket.send(JSON.stringify({ jsonrpc: "2.0", method: "stream.window", params }));
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(parts >= STREAM_WINDOW_BYTES && parts < 1.2 * STREAM_WINDOW_BYTES, `${parts}`);
  socket.terminate();
  await nothingIsLeft(w, client, ["base", "large"]);
});

test("given up half way, by signal or by leaving the loop, nothing is left", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  const body = "y".repeat(1_000_000);
  for (const after of [0, 1, 5, 12]) {
    const stop = new AbortController();
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (let sent = 0; ; sent += 1) {
        if (sent === after) stop.abort();
        yield tarOf([{ path: `file-${sent % 3}`, body }]).subarray(0, -1024);
        await Promise.resolve();
      }
    };
    const given = { ...asked, name: "given-up", source: endless(), signal: stop.signal };
    await assert.rejects(client.importImage(given), { code: "ABORTED" });
    // At once: who is told that it was given up may use the name.
    assert.deepEqual(await devicesOf(client), ["base"]);
  }
  const source = inPieces(tarOf([{ path: "large", body: body.repeat(4) }]), 100_000);
  await client.importImage({ ...asked, name: "large", source });
  for await (const part of client.exportDevice({ name: "large" })) {
    assert.ok(part.length > 0);
    break;
  }
  const stop = new AbortController();
  const archive = client.exportDevice({ name: "large", signal: stop.signal });
  await assert.rejects(
    async () => {
      for await (const part of archive) if (part.length > 0) stop.abort();
    },
    { code: "ABORTED" },
  );
  await assert.rejects(archive.summary, { code: "ABORTED" });
  await nothingIsLeft(w, client, ["base", "large"]);
});

test("a client that goes and does not come again leaves nothing, with a key and without", async () => {
  for (const idempotencyKey of ["a-key", false] as const) {
    await using w = await world();
    await using _daemon = await w.start();
    await using watcher = await w.connect();
    const client = await w.connect();
    const begun = Promise.withResolvers<undefined>();
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield ARCHIVE.subarray(0, 1024);
      begun.resolve(undefined);
      await new Promise(() => undefined);
    };
    const work = client.importImage({ ...asked, name: "gone", source: source(), idempotencyKey });
    await begun.promise;
    const failed = assert.rejects(work, { code: "CLIENT_CLOSED" });
    await client.close();
    await failed;
    if (idempotencyKey === false) await nothingIsLeft(w, watcher);
    else assert.deepEqual(await devicesOf(watcher), ["base", "gone"], "it has its time");
  }
});

test("the daemon is stopped half way: nothing is left, and who has the beginning no more is told", async () => {
  await using w = await world();
  const daemon = await w.start();
  await using client = await w.connect();
  const sent = Promise.withResolvers<undefined>();
  const go = Promise.withResolvers<undefined>();
  const large = tarOf([{ path: "large", body: "z".repeat(2 * STREAM_WINDOW_BYTES) }]);
  const source = async function* (): AsyncGenerator<Uint8Array> {
    const half = STREAM_WINDOW_BYTES + STREAM_WINDOW_BYTES / 2;
    yield* inPieces(large.subarray(0, half), 10_000);
    sent.resolve(undefined);
    await go.promise;
    yield* inPieces(large.subarray(half), 10_000);
  };
  const work = client.importImage({ ...asked, name: "half", source: source() });
  const failed = assert.rejects(work, { code: "STREAM_LOST" });
  await sent.promise;
  await daemon.stop();
  await using _next = await w.start();
  go.resolve(undefined);
  await failed;
  await nothingIsLeft(w, client);
});

test("the daemon is stopped before anything was taken: the same call goes on with the next one", async () => {
  await using w = await world();
  const daemon = await w.start();
  await using client = await w.connect();
  const asking = Promise.withResolvers<undefined>();
  const go = Promise.withResolvers<undefined>();
  const source = async function* (): AsyncGenerator<Uint8Array> {
    asking.resolve(undefined);
    await go.promise;
    yield* inPieces(ARCHIVE, 10_000);
  };
  const work = client.importImage({ ...asked, name: "later", source: source() });
  await asking.promise;
  await daemon.stop();
  await using _next = await w.start();
  go.resolve(undefined);
  const { content } = await work;
  assert.equal(content?.sha256, SHA256);
  await using mount = await client.mount({ device: "later" });
  assert.equal(await readFile(join(mount.path, "folder/file"), "utf8"), CONTENT);
});

test("a binary message of no stream ends the connection; one of a stream that was does not", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  const dial = async (): Promise<WebSocket> => {
    const socket = new WebSocket("ws://localhost/", ["thinpool.v1"], {
      createConnection: () => createConnection(w.socketPath),
    });
    await once(socket, "open");
    return socket;
  };
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(16), Buffer.alloc(20, 1)]) {
    const socket = await dial();
    socket.send(bytes);
    const [code] = (await once(socket, "close")) as [number];
    assert.equal(code, 1003);
  }
  const socket = await dial();
  const answered = new Promise<string>((resolve) => {
    socket.on("message", (data: Buffer) => {
      const text = data.toString();
      if (text.includes("stream.opened")) socket.send(frame(1, 99));
      else if (text.includes('"id":1')) resolve(text);
      if (text.includes('"id":2')) socket.close(1000);
    });
  });
  socket.send(encodeRequest(1, "device.import", { name: "x", sizeBytes: String(DEVICE_BYTES) }));
  // The first part lies beyond the window's beginning: the stream ends with an error.
  assert.match(await answered, /a part at 99, where 0 comes next/);
  socket.send(frame(1, 0));
  socket.send(encodeRequest(2, "mount.list", {}));
  const [code] = (await once(socket, "close")) as [number];
  assert.equal(code, 1000);
});

function frame(stream: number, offset: number): Buffer {
  const bytes = Buffer.alloc(17, "x");
  bytes.fill(0, 0, 16).writeUInt32BE(stream, 0);
  bytes.writeBigUInt64BE(BigInt(offset), 8);
  return bytes;
}

test("the device that is filled can't be taken for a whole one, and a taken name is refused", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  const go = Promise.withResolvers<undefined>();
  const begun = Promise.withResolvers<undefined>();
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield ARCHIVE.subarray(0, 512);
    begun.resolve(undefined);
    await go.promise;
    yield ARCHIVE.subarray(512);
  };
  const work = client.importImage({ ...asked, name: "filling", source: source() });
  await begun.promise;
  const again = client.importImage({ ...asked, name: "filling", source: inPieces(ARCHIVE, 512) });
  await assert.rejects(again, { code: "EXISTS" });
  await assert.rejects(client.remove({ name: "filling" }), { code: "BUSY" });
  await assert.rejects(client.devices.rename({ name: "filling", to: "x" }), { code: "BUSY" });
  go.resolve(undefined);
  const { device } = await work;
  assert.equal(device.name, "filling");
  await using mount = await client.mount({ device: "filling" });
  await writeFile(join(mount.path, "more"), "x");
});
