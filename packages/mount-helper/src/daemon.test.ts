/** The daemon's socket as a hostile or broken client meets it, on the simulated kernel. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import { createSimKernel } from "@thinpool/dm-sim";
import {
  HEARTBEAT_INTERVAL_MS,
  MAX_REQUESTS_IN_FLIGHT,
  MAX_REQUEST_BYTES,
  SUBPROTOCOL,
  encodeRequest,
  parseResponse,
} from "@thinpool/protocol";
import { createPool } from "@thinpool/thinpool";
import { WebSocket } from "ws";
import { MEMORY_FOLDER } from "./memory-folder.test.support.ts";
import type { Daemon } from "./daemon.ts";
import { startDaemonWith } from "./daemon.ts";
import { jsonLogger } from "./log.ts";
import type { Principal } from "./policy/policy.ts";
import { identifyByKernel } from "./server/listener.ts";
import { SPARE_DELAY_MS } from "./worker/limits.ts";

interface World extends AsyncDisposable {
  readonly socketPath: string;
  readonly log: string[];
  readonly kernel: SimKernel;
  readonly daemon: Daemon;
  readonly policyFile: string;
  /** Device-mapper answers nothing before this resolves. */
  readonly hold: { until: Promise<unknown> };
  /** Who the next connections are from; undefined: the kernel leaves a doubt. */
  caller: Principal | undefined;
}

async function world(policy: unknown = POLICY): Promise<World> {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-daemon-"));
  const kernel = createSimKernel();
  const folder = join(parent, "pool");
  const socketPath = join(parent, "s");
  const log: string[] = [];
  const backing = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
  const pool = await createPool({ folder, kernel, backing });
  await pool.createDevice({ name: "base", sizeBytes: 16n << 20n });
  await pool.createDevice({ name: "theirs", sizeBytes: 16n << 20n, ownerUid: 1000 });
  await pool.detach();
  const logger = jsonLogger((line) => log.push(line));
  const policyFile = join(parent, "policy.json");
  await writeFile(policyFile, JSON.stringify(policy), { mode: 0o600 });
  const { loops, blocks, mounts, filesystems, metadataTools } = kernel;
  const hold: World["hold"] = { until: Promise.resolve() };
  const parts = { loops, blocks, mounts, filesystems, metadataTools };
  const self: World = {
    socketPath,
    log,
    kernel,
    policyFile,
    hold,
    caller: undefined,
    daemon: await startDaemonWith(
      {
        folder,
        socketPath,
        kernel: { ...parts, dm: holding(kernel.dm, hold) },
        mountRoot: join(parent, "mounts"),
        logger,
        workers: "in-process",
        policyFile,
      },
      (socket) => {
        assert.equal(identifyByKernel(socket).uid, process.geteuid?.());
        if (self.caller === undefined) throw new Error("doubt");
        return self.caller;
      },
    ),
    [Symbol.asyncDispose]: async () => {
      await self.daemon.stop({ teardown: true });
      assert.deepEqual(await kernel.leftovers(), []);
      await rm(parent, { recursive: true, force: true });
    },
  };
  return self;
}

/** Each call of `target` waits first. */
function holding<T extends object>(target: T, hold: World["hold"]): T {
  return new Proxy(target, {
    get: (_target, key) => {
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== "function") return member;
      return async (...args: unknown[]): Promise<unknown> => {
        await hold.until;
        return Reflect.apply(member, target, args) as unknown;
      };
    },
  });
}

/** All may clone root's devices. */
const POLICY = {
  version: 1,
  rules: [{ name: "all", users: "all", allow: { clone: { names: ["*"] } } }],
};
const USER: Principal = { uid: 1001, gid: 1001, pid: 4, groups: [] };

/** Several times as many as fill MAX_BUFFERED_BYTES with this world's short answers. */
const MAX_QUESTIONS = 100_000;

function isSlowReader(line: string): boolean {
  return line.includes("the client does not read");
}

function dial(
  w: World,
  protocols: readonly string[] = [SUBPROTOCOL],
  more: { readonly autoPong?: boolean } = {},
): WebSocket {
  const options = { ...more, createConnection: () => createConnection(w.socketPath) };
  return new WebSocket("ws://localhost/", [...protocols], options);
}

async function opened(w: World): Promise<WebSocket> {
  const socket = dial(w);
  // The hello: the daemon's first word, and the only one unasked.
  await once(socket, "message");
  return socket;
}

async function answer(socket: WebSocket): Promise<{ id: unknown; code: string }> {
  const [data] = (await once(socket, "message")) as [Buffer];
  const parsed = parseResponse(data.toString("utf8"));
  assert.ok(parsed.ok);
  const { value } = parsed;
  return { id: value.id, code: "error" in value ? value.error.data.code : "done" };
}

async function ask(socket: WebSocket, text: string): Promise<{ id: unknown; code: string }> {
  socket.send(text);
  return answer(socket);
}

async function closeCode(socket: WebSocket): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  socket.on("error", () => {
    // "close" tells it too.
  });
  socket.once("close", resolve);
  return promise;
}

test("a peer that the kernel does not name is cut before it is read", async () => {
  await using w = await world();
  const socket = dial(w);
  assert.equal(await closeCode(socket), 1006);
  assert.ok(w.log.some((line) => line.includes("peer-unknown")));
});

test("without the subprotocol there is no connection, and plain HTTP is told what to do", async () => {
  await using w = await world();
  w.caller = USER;
  for (const protocols of [[], ["thinpool.v2"]]) {
    const socket = dial(w, protocols);
    const [error] = (await once(socket, "error")) as [Error];
    assert.match(error.message, /400/);
  }
  const plain = createConnection(w.socketPath);
  plain.end("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const [text] = (await once(plain, "data")) as [Buffer];
  assert.match(text.toString(), /^HTTP\/1.1 426 /);
  plain.destroy();
});

test("binary and oversized messages end the connection, and only that one", async () => {
  await using w = await world();
  w.caller = USER;
  const binary = await opened(w);
  binary.send(Buffer.from("{}"), { binary: true });
  assert.equal(await closeCode(binary), 1003);
  const large = await opened(w);
  large.send("x".repeat(MAX_REQUEST_BYTES + 1));
  assert.equal(await closeCode(large), 1009);
  const well = await opened(w);
  assert.deepEqual(await ask(well, encodeRequest(1, "pool.status", {})), { id: 1, code: "done" });
  well.close();
});

test("what is no request gets a clean error, and the connection goes on", async () => {
  await using w = await world();
  w.caller = USER;
  const socket = await opened(w);
  const unknown = JSON.stringify({ jsonrpc: "2.0", id: 9, method: "device.format", params: {} });
  assert.deepEqual(await ask(socket, "{"), { id: null, code: "PARSE_ERROR" });
  assert.deepEqual(await ask(socket, "[]"), { id: null, code: "INVALID_REQUEST" });
  assert.deepEqual(await ask(socket, unknown), { id: 9, code: "METHOD_NOT_FOUND" });
  const bad = { jsonrpc: "2.0", id: 2, method: "device.get", params: { name: "../../etc" } };
  assert.deepEqual(await ask(socket, JSON.stringify(bad)), { id: 2, code: "NAME_INVALID" });
  assert.deepEqual(await ask(socket, encodeRequest(3, "mount.list", {})), { id: 3, code: "done" });
  socket.close();
});

test("the caller's uid decides, call by call", async () => {
  await using w = await world();
  w.caller = USER;
  const socket = await opened(w);
  // Who connects later does not change who this connection is.
  w.caller = { uid: 0, gid: 0, pid: 1, groups: [] };
  const calls = [
    [encodeRequest(1, "device.create", { name: "x" }), "FORBIDDEN"],
    [encodeRequest(2, "device.remove", { name: "base" }), "FORBIDDEN"],
    [encodeRequest(3, "mount.create", { device: "base" }), "FORBIDDEN"],
    [encodeRequest(4, "device.remove", { name: "theirs" }), "NOT_FOUND"],
    [encodeRequest(5, "mount.create", { device: "theirs" }), "NOT_FOUND"],
    [encodeRequest(6, "device.clone", { origin: "theirs", name: "x" }), "NOT_FOUND"],
    [encodeRequest(7, "device.get", { name: "theirs" }), "NOT_FOUND"],
    [
      encodeRequest(10, "device.clone", { origin: "base", name: "x", onBehalfOf: 1000 }),
      "FORBIDDEN",
    ],
    [encodeRequest(11, "device.create", { name: "x", onBehalfOf: 0 }), "FORBIDDEN"],
    [encodeRequest(8, "device.clone", { origin: "base", name: "mine" }), "done"],
    [encodeRequest(9, "device.remove", { name: "mine" }), "done"],
  ] as const;
  for (const [text, code] of calls) assert.equal((await ask(socket, text)).code, code, text);
  const audit = w.log
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event, uid }) => event === "audit" && uid === USER.uid);
  assert.equal(audit.length, 10, "each call that would change something, refused or not");
  socket.close();
});

test("a user whose devices map more than he may has no new ones, and nothing to write to", async () => {
  // The base's filesystem takes a block or two: it can be cloned once.
  const limits = { mappedBytes: String(2 * 128 * 1024) };
  const [rule] = POLICY.rules;
  const allow = { ...rule?.allow, create: true };
  await using w = await world({ version: 1, rules: [{ ...rule, allow, limits }] });
  w.caller = USER;
  const socket = await opened(w);
  const clone = (name: string): string =>
    encodeRequest(1, "device.clone", { origin: "base", name });
  const calls = [
    [clone("mine"), "done"],
    [encodeRequest(1, "mount.create", { device: "mine" }), "done"],
    [clone("more"), "LIMIT"],
    [
      encodeRequest(1, "device.snapshotMany", { snapshots: [{ origin: "mine", name: "more" }] }),
      "LIMIT",
    ],
    [encodeRequest(1, "device.create", { name: "empty", filesystem: "none" }), "done"],
    [encodeRequest(1, "device.remove", { name: "empty" }), "done"],
  ] as const;
  for (const [text, code] of calls) assert.equal((await ask(socket, text)).code, code, text);
  socket.close();
  const tight = { mappedBytes: "0" };
  await writeFile(
    w.policyFile,
    JSON.stringify({ version: 1, rules: [{ ...rule, allow, limits: tight }] }),
  );
  await w.daemon.reloadPolicy();
  const again = await opened(w);
  const over = [
    [encodeRequest(1, "device.create", { name: "empty", filesystem: "none" }), "LIMIT"],
    [encodeRequest(1, "mount.create", { device: "mine" }), "LIMIT"],
    [encodeRequest(1, "mount.list", {}), "done"],
  ] as const;
  for (const [text, code] of over) assert.equal((await ask(again, text)).code, code, text);
  again.close();
});

test("tokens to connect by: root for anybody, others for themselves where the policy lets them", async () => {
  const [rule] = POLICY.rules;
  const roaming = { name: "roaming", users: [1002], allow: { connect: true } };
  await using w = await world({ version: 1, rules: [rule, roaming] });
  const make = (uid?: number): string =>
    encodeRequest(1, "token.createConnect", {
      lifetimeMs: 60_000,
      ...(uid === undefined ? {} : { uid }),
    });
  for (const [caller, calls] of [
    [{ ...USER, uid: 0 }, [make(), make(1001), make(1002)]],
    [{ ...USER, uid: 1002 }, [make(), make(1002)]],
  ] as const) {
    w.caller = caller;
    const socket = await opened(w);
    for (const text of calls) assert.equal((await ask(socket, text)).code, "done");
    socket.close();
  }
  w.caller = { ...USER, uid: 1002 };
  const roams = await opened(w);
  for (const text of [make(0), make(1001)]) {
    assert.equal((await ask(roams, text)).code, "FORBIDDEN");
  }
  roams.close();
  w.caller = USER;
  const stays = await opened(w);
  assert.equal((await ask(stays, make())).code, "FORBIDDEN");
  const listed = async (socket: WebSocket): Promise<readonly { uid: number; id: string }[]> => {
    socket.send(encodeRequest(2, "token.listConnect", {}));
    const [data] = (await once(socket, "message")) as [Buffer];
    return (JSON.parse(data.toString()) as { result: { uid: number; id: string }[] }).result;
  };
  // Root's for this user: he is the one who may be entered by it.
  const [own, ...others] = await listed(stays);
  assert.equal(own?.uid, USER.uid);
  assert.deepEqual(others, []);
  w.caller = { ...USER, uid: 0 };
  const root = await opened(w);
  const all = await listed(root);
  assert.equal(all.length, 5);
  const roots = all.find(({ uid }) => uid === 0) ?? assert.fail();
  const revoke = (id: string): string => encodeRequest(3, "token.revoke", { id });
  assert.equal((await ask(stays, revoke(roots.id))).code, "NOT_FOUND");
  assert.equal((await ask(stays, revoke(own.id))).code, "done");
  assert.equal((await ask(root, revoke(roots.id))).code, "done");
  assert.equal((await listed(root)).length, 3);
  stays.close();
  root.close();
});

test("a call that the kernel keeps is answered in time, frees its slot, and is whole at its end", async () => {
  const [rule] = POLICY.rules;
  const limits = { requestSeconds: 1, requestsInFlight: 1 };
  await using w = await world({ version: 1, rules: [{ ...rule, limits }] });
  w.caller = USER;
  const socket = await opened(w);
  const sick = Promise.withResolvers<undefined>();
  w.hold.until = sick.promise;
  const clone = encodeRequest(1, "device.clone", { origin: "base", name: "mine" });
  assert.equal((await ask(socket, clone)).code, "TIMEOUT");
  const look = encodeRequest(2, "device.get", { name: "mine" });
  assert.equal((await ask(socket, look)).code, "NOT_FOUND");
  sick.resolve(undefined);
  // In turn: what waits for the device has the clone behind it.
  const remove = encodeRequest(3, "device.remove", { name: "mine" });
  assert.equal((await ask(socket, remove)).code, "done");
  const outcomes = w.log
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === "audit")
    .map(({ method, outcome, late }) => [method, outcome, late]);
  assert.deepEqual(outcomes, [
    ["device.clone", "TIMEOUT", undefined],
    ["device.clone", "done", true],
    ["device.remove", "done", undefined],
  ]);
  socket.close();
});

test("more requests at once than allowed: each gets an answer, the rest LIMIT", async () => {
  await using w = await world();
  w.caller = USER;
  const socket = await opened(w);
  const codes: string[] = [];
  const total = MAX_REQUESTS_IN_FLIGHT * 3;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  socket.on("message", (data: Buffer) => {
    const parsed = parseResponse(data.toString("utf8"));
    assert.ok(parsed.ok && parsed.value.id !== null);
    codes.push("error" in parsed.value ? parsed.value.error.data.code : "done");
    if (codes.length === total) resolve(undefined);
  });
  for (let id = 1; id <= total; id += 1) {
    socket.send(encodeRequest(id, "device.clone", { origin: "base", name: `c${id}` }));
  }
  await promise;
  assert.ok(codes.filter((code) => code === "done").length >= MAX_REQUESTS_IN_FLIGHT);
  assert.deepEqual(new Set(codes), new Set(["done", "LIMIT"]));
  socket.close();
});

test("a client that asks and does not read is cut", { timeout: 60_000 }, async () => {
  await using w = await world();
  w.caller = USER;
  const socket = await opened(w);
  const closed = closeCode(socket);
  socket.pause();
  for (let id = 1; id <= MAX_QUESTIONS && !w.log.some(isSlowReader); id += 1) {
    socket.send(encodeRequest(id, "device.list", {}));
    if (id % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  while (!w.log.some(isSlowReader)) await new Promise((resolve) => setTimeout(resolve, 5));
  socket.resume();
  assert.equal(await closed, 1006);
});

test("a client that answers no ping is cut at the next one", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  await using w = await world();
  w.caller = USER;
  const deaf = dial(w, [SUBPROTOCOL], { autoPong: false });
  await once(deaf, "message");
  const well = await opened(w);
  const closed = closeCode(deaf);
  const pinged = once(well, "ping");
  t.mock.timers.tick(HEARTBEAT_INTERVAL_MS);
  await pinged;
  // Its pong is on the way before this answer is.
  assert.equal((await ask(well, encodeRequest(1, "pool.status", {}))).code, "done");
  t.mock.timers.tick(HEARTBEAT_INTERVAL_MS);
  assert.equal(await closed, 1006);
  assert.equal((await ask(well, encodeRequest(2, "pool.status", {}))).code, "done");
  well.close();
});

test("a stop answers what runs, and refuses what comes", async () => {
  await using w = await world();
  w.caller = USER;
  const socket = await opened(w);
  const running = ask(socket, encodeRequest(1, "device.clone", { origin: "base", name: "mine" }));
  const closed = closeCode(socket);
  const { promise, resolve } = Promise.withResolvers<undefined>();
  w.kernel.onCall(() => resolve(undefined));
  await promise;
  const stopped = w.daemon.stop({ teardown: true });
  assert.equal((await running).code, "done");
  assert.equal(await closed, 1001);
  await stopped;
});

test(
  "a start that fails leaves no process to come",
  { skip: process.geteuid?.() === 0 ? false : "it takes root" },
  async (t) => {
    const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-daemon-"));
    t.after(() => rm(parent, { recursive: true, force: true }));
    const kernel = createSimKernel();
    const folder = join(parent, "pool");
    const backing = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
    await (await createPool({ folder, kernel, backing })).detach();
    const socketPath = join(parent, "s");
    await writeFile(socketPath, "no socket");
    const log: string[] = [];
    const logger = jsonLogger((line) => log.push(line));
    const mountRoot = join(parent, "mounts");
    const start = startDaemonWith(
      { folder, kernel, socketPath, mountRoot, logger, spareWorkers: 1 },
      identifyByKernel,
    );
    await assert.rejects(start, { code: "SOCKET_IN_USE" });
    // A spare is started a second after it is wanted.
    await new Promise((resolve) => setTimeout(resolve, SPARE_DELAY_MS + 200));
    assert.deepEqual(
      log.filter((line) => line.includes("spare")),
      [],
    );
  },
);
