/**
 * Both ends against a peer that sends anything: seeded, so that a failure can be run again with
 * THINPOOL_FUZZ_SEED. Whatever comes gets a typed error or ends its own connection; others notice
 * nothing.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createConnection } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import {
  SUBPROTOCOL,
  encodeRequest,
  errorCodeNames,
  methodNames,
  parseDaemonMessage,
} from "@thinpool/protocol";
import { ThinpoolError, connect } from "@thinpool/sdk";
import { WebSocket, WebSocketServer } from "ws";
import { world } from "./sim-world.ts";

const SEED = Number(process.env["THINPOOL_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const MESSAGES = 400;
const DEEP = 20_000;
/** How long a client waits for an answer that the fuzzer does not give. */
const CALL_TIMEOUT_MS = 300;

/** mulberry32: small, and the same on every machine. */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;

function pick<T>(random: Random, values: readonly T[]): T {
  const value = values[random(values.length)];
  if (value === undefined && values.length === 0) throw new Error("nothing to pick from");
  return value as T;
}

/** JSON text of a value that no schema expects. */
function oddValue(random: Random): string {
  return pick(random, [
    () => "null",
    () => "1e999",
    () => "-0",
    () => `1${"0".repeat(random(400))}`,
    () => '"\\ud800"',
    () => `"${"x".repeat(random(5_000))}"`,
    () => "[".repeat(DEEP) + "]".repeat(DEEP),
    () => '{"a":'.repeat(2_000) + "1" + "}".repeat(2_000),
    () => '{"__proto__":{"uid":0},"constructor":1}',
    () => "true",
    () => `[${Array.from({ length: random(50) }, () => "{}").join(",")}]`,
    () => '"a\\u0000b"',
  ])();
}

function randomBytes(random: Random): Buffer {
  return Buffer.from(Array.from({ length: 1 + random(200) }, () => random(256)));
}

/** `well`: messages that a good peer sends; what comes out is one of them spoilt, or nothing like it. */
function spoilt(random: Random, well: readonly string[]): string {
  const text = pick(random, well);
  return pick(random, [
    () => text.slice(0, random(text.length)),
    () => text.replace(/"[a-zA-Z.]+":/g, (key) => (random(3) === 0 ? '"x":' : key)),
    () =>
      text.replace(/:("[^"]*"|\d+|\{\})/g, (all) =>
        random(2) === 0 ? `:${oddValue(random)}` : all,
      ),
    () => randomBytes(random).toString("latin1"),
    () => oddValue(random),
    () => text + text,
    () => `[${text},${text}]`,
    () => text.replace('"jsonrpc":"2.0",', ""),
  ])();
}

test(`the daemon under fire, seed ${SEED}`, { timeout: 240_000 }, async () => {
  const random = randomOf(SEED);
  await using w = await world();
  await using daemon = await w.start();
  await using bystander = await w.connect();
  // All but the one that would do something as it stands: the others name what there is not.
  const harmless = methodNames.filter((method) => method !== "device.create");
  const well = harmless.map((method) =>
    // Only looked at as text, which is spoilt: whether the parameters fit does not matter.
    encodeRequest(1, method, { name: "none", origin: "none", device: "none" }),
  );
  let refusals = 0;
  const dial = async (): Promise<WebSocket> => {
    const createSocket = () => createConnection(daemon.socketPath);
    const socket = new WebSocket("ws://x/", [SUBPROTOCOL], { createConnection: createSocket });
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer) => {
      const message = parseDaemonMessage(data.toString("utf8"));
      assert.ok(message.ok, "the daemon itself keeps to the protocol");
      if (message.value.type !== "response" || !("error" in message.value.response)) return;
      const { code } = message.value.response.error.data;
      assert.ok((errorCodeNames as readonly string[]).includes(code), code);
      assert.notEqual(code, "INTERNAL");
      refusals += 1;
    });
    await once(socket, "open");
    return socket;
  };
  let socket = await dial();
  for (let count = 0; count < MESSAGES; count += 1) {
    if (socket.readyState !== WebSocket.OPEN) socket = await dial();
    const text = spoilt(random, well);
    if (random(40) === 0) socket.send(randomBytes(random), { binary: true });
    else if (text.length > 0) socket.send(text);
    // Raw bytes in place of frames, on a connection of their own.
    if (random(40) === 0)
      createConnection(daemon.socketPath)
        .on("error", () => undefined)
        .end(randomBytes(random));
    if (count % 20 === 0) {
      assert.equal((await bystander.status()).state, "working");
      assert.equal(bystander.state, "connected");
    }
  }
  socket.terminate();
  assert.ok(refusals > MESSAGES / 10, `${refusals} typed errors`);
  assert.deepEqual(
    (await bystander.list()).map(({ name }) => name),
    ["base"],
  );
  assert.ok(!w.log.some((line) => line.includes('"internal-error"')), "no INTERNAL in the log");
});

test(`the SDK under fire, seed ${SEED}`, { timeout: 240_000 }, async () => {
  const random = randomOf(SEED + 1);
  await using w = await world();
  await using daemon = await w.start();
  const server = createServer();
  const webSockets = new WebSocketServer({ noServer: true });
  let hello = "";
  {
    const createSocket = () => createConnection(daemon.socketPath);
    const socket = new WebSocket("ws://x/", [SUBPROTOCOL], { createConnection: createSocket });
    const [data] = (await once(socket, "message")) as [Buffer];
    hello = data.toString("utf8");
    socket.terminate();
  }
  const well = [
    hello,
    '{"jsonrpc":"2.0","id":1,"result":{}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"m","data":{"code":"BUSY","operation":"o","object":"x","hint":"h"}}}',
  ];
  server.on("upgrade", (request, socket, head) => {
    webSockets.handleUpgrade(request, socket, head, (client) => {
      client.on("error", () => undefined);
      client.send(random(4) === 0 ? spoilt(random, well) : hello);
      client.on("message", () => {
        if (random(20) === 0) client.send(randomBytes(random));
        else client.send(spoilt(random, well));
      });
    });
  });
  const socketPath = join(w.parent, "fuzz");
  server.listen(socketPath);
  await once(server, "listening");
  const typed = (error: unknown): true => {
    assert.ok(error instanceof ThinpoolError, String(error));
    return true;
  };
  for (let count = 0; count < MESSAGES / 8; count += 1) {
    try {
      const limits = { timeoutMs: CALL_TIMEOUT_MS, reconnectTimeoutMs: 0 };
      await using client = await connect({ socketPath, ...limits });
      for (let calls = 0; calls < 4; calls += 1) {
        await client.status().catch(typed);
        await client.remove({ name: "x" }).catch(typed);
      }
    } catch (error) {
      typed(error);
    }
  }
  for (const client of webSockets.clients) client.terminate();
  server.close();
  await using good = await w.connect();
  assert.equal((await good.status()).state, "working");
});
