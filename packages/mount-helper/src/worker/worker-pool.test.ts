/** Worker processes, ours and hostile ones in their place, with real uids: takes root. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, readlink, rm } from "node:fs/promises";
import type { Server, Socket } from "node:net";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MAX_CONNECTIONS_PER_UID, SUBPROTOCOL, encodeRequest } from "@thinpool/protocol";
import { WebSocket } from "ws";
import { jsonLogger } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import { Back } from "../server/back.ts";
import { cached } from "./cached-program.test.support.ts";
import { WORKER_FIRST_BACKOFF_MS } from "./limits.ts";
import type { Identity } from "./privileges.ts";
import { WorkerPool } from "./worker-pool.ts";
import { workerProgram } from "./worker-process.ts";

const options = { skip: process.geteuid?.() === 0 ? false : "it takes root" };
const ALICE: Principal = { uid: 4001, gid: 4001, pid: 10, groups: [] };
const BOB: Principal = { uid: 4002, gid: 4002, pid: 11, groups: [] };
const ROOT_IDENTITY: Identity = { uid: 65_533, gid: 65_533 };
const START_TIMEOUT_MS = 60_000;

interface World extends AsyncDisposable {
  readonly back: Back;
  readonly pool: WorkerPool;
  /** Added to the pool's clock, which stands still otherwise. */
  elapsedMs: number;
  /** The fields of the log's lines of one event. */
  events(event: string): readonly Readonly<Record<string, unknown>>[];
  /** A client of that user: its end of a connection that the back has accepted. */
  dial(principal: Principal): Promise<Socket>;
}

interface WorldOptions {
  /** What runs in place of our worker; default: ours, with a cache. */
  readonly program?: (identity: Identity | undefined) => readonly string[];
  readonly spares?: number;
  readonly idleMs?: number;
}

/** Answers every request with who asked. */
async function world({
  program = () => cached(workerProgram()),
  spares = 0,
  idleMs,
}: WorldOptions = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "thinpool-worker-"));
  const log: string[] = [];
  const logger = jsonLogger((line) => log.push(line));
  const pool = new WorkerPool({
    rootIdentity: ROOT_IDENTITY,
    logger,
    now: () => self.elapsedMs,
    spares,
    spareDelayMs: 1,
    program,
  });
  const back = new Back({
    dispatcher: {
      answer: ({ id }, { principal }) =>
        Promise.resolve(JSON.stringify({ jsonrpc: "2.0", id, result: { uid: principal.uid } })),
    },
    watch: { opened: () => undefined, closed: () => undefined },
    openFront: (principal, port) => pool.open(principal, port),
    limitsOf: () => ({ requestsInFlight: 100, requestsPerSecond: 100_000 }),
    logger,
    ...(idleMs === undefined ? {} : { idleMs }),
  });
  const server: Server = createServer({ pauseOnConnect: true });
  const path = join(folder, "s");
  server.listen(path);
  await once(server, "listening");
  const self: World = {
    back,
    pool,
    elapsedMs: 0,
    events: (event) =>
      log
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((fields) => fields["event"] === event),
    dial: async (principal) => {
      const accepted = once(server, "connection");
      const socket = createConnection(path);
      socket.on("error", () => {
        // ECONNRESET where its worker was killed: "close" follows.
      });
      const [other] = (await accepted) as [Socket];
      back.accept(principal, other);
      return socket;
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      await back.close();
      await pool.close();
      await rm(folder, { recursive: true });
    },
  };
  return self;
}

async function webSocket(w: World, principal: Principal): Promise<WebSocket> {
  const socket = await w.dial(principal);
  const client = new WebSocket("ws://localhost/", [SUBPROTOCOL], {
    createConnection: () => socket,
  });
  client.on("error", () => {
    // "close" tells it too.
  });
  await once(client, "open");
  return client;
}

async function askedAs(client: WebSocket): Promise<unknown> {
  client.send(encodeRequest(1, "pool.status", {}));
  const [data] = (await once(client, "message")) as [Buffer];
  return (JSON.parse(data.toString()) as { result: { uid: number } }).result.uid;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function workerPid(w: World, uid: number): number {
  const ready = w.events("worker-ready").findLast((fields) => fields["uid"] === uid);
  return Number(ready?.["pid"]);
}

/** Each thread has that user's ids and no privilege. */
async function assertNobodyBut(uid: number, proc: string): Promise<void> {
  for (const thread of await readdir(`${proc}/task`)) {
    const status = await readFile(`${proc}/task/${thread}/status`, "utf8");
    assert.match(status, new RegExp(`^Uid:\t${uid}\t${uid}\t${uid}\t${uid}$`, "m"));
    assert.match(status, /^Groups:\t ?$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    for (const set of ["Prm", "Eff", "Bnd", "Amb"]) {
      assert.match(status, new RegExp(`^Cap${set}:\t0{16}$`, "m"), `${thread} ${set}`);
    }
  }
}

async function descriptorsOf(proc: string): Promise<readonly string[]> {
  return Promise.all(
    (await readdir(`${proc}/fd`)).map((fd) => readlink(`${proc}/fd/${fd}`).catch(() => "")),
  );
}

/** Runs a shell command as that user, with no more than his rights; its exit code. */
function shellAs(uid: number, command: string): number | null {
  const args = [
    `--reuid=${uid}`,
    `--regid=${uid}`,
    "--clear-groups",
    "--",
    "/bin/sh",
    "-c",
    command,
  ];
  return spawnSync("/usr/bin/setpriv", args, { stdio: "ignore" }).status;
}

test(
  "each user has a worker of his own: no privileges, no environment, no descriptor",
  options,
  async () => {
    // As thinpoold starts it, to the letter.
    await using w = await world({ program: workerProgram });
    const alice = await webSocket(w, ALICE);
    const second = await webSocket(w, ALICE);
    const bob = await webSocket(w, BOB);
    const root = await webSocket(w, { uid: 0, gid: 0, pid: 1, groups: [] });
    assert.equal(w.pool.size, 3);
    assert.deepEqual(
      [await askedAs(alice), await askedAs(second), await askedAs(bob), await askedAs(root)],
      [ALICE.uid, ALICE.uid, BOB.uid, 0],
    );
    for (const uid of [ALICE.uid, BOB.uid, ROOT_IDENTITY.uid]) {
      const proc = `/proc/${workerPid(w, uid)}`;
      await assertNobodyBut(uid, proc);
      assert.equal(await readFile(`${proc}/environ`, "utf8"), "");
      assert.equal(await readlink(`${proc}/cwd`), "/");
      const open = await descriptorsOf(proc);
      assert.deepEqual(
        open.filter((target) => target.startsWith("/") && target !== "/dev/null"),
        [],
      );
      const limits = await readFile(`${proc}/limits`, "utf8");
      assert.match(limits, /^Max core file size +0 +0 /m);
    }
    for (const client of [alice, second, bob, root]) client.close();
  },
);

test(
  "a user can't look into his own worker, nor open its debugger; he can end it, and only it",
  options,
  async () => {
    await using w = await world();
    const alice = await webSocket(w, ALICE);
    const bob = await webSocket(w, BOB);
    const pid = workerPid(w, ALICE.uid);
    for (const file of ["environ", "mem", "maps", "fd/3"]) {
      assert.notEqual(shellAs(ALICE.uid, `exec < /proc/${pid}/${file} && cat`), 0, file);
    }
    assert.notEqual(shellAs(ALICE.uid, `kill -9 ${workerPid(w, BOB.uid)}`), 0);
    const cut = once(alice, "close");
    shellAs(ALICE.uid, `kill -USR1 ${pid}`);
    const debuggers = await fetch("http://127.0.0.1:9229/json").then(
      () => "open",
      () => "closed",
    );
    assert.equal(debuggers, "closed");
    shellAs(ALICE.uid, `kill -9 ${pid}`);
    await cut;
    assert.equal(await askedAs(bob), BOB.uid);
    await until("the worker is gone", () => w.pool.size === 1);
    // The next one waits a moment, and is told so until then.
    const refused = await w.dial(ALICE);
    refused.write("GET / HTTP/1.1\r\n\r\n");
    const [text] = (await once(refused, "data")) as [Buffer];
    assert.match(text.toString(), /^HTTP\/1\.1 503 /);
    w.elapsedMs += WORKER_FIRST_BACKOFF_MS;
    const again = await webSocket(w, ALICE);
    assert.equal(await askedAs(again), ALICE.uid);
    again.close();
    bob.close();
  },
);

test(
  "a thousand half-open connections of one user: he is refused, others are served",
  options,
  async () => {
    await using w = await world();
    const halfOpen: Socket[] = [];
    for (let count = 0; count < 1_000; count += 1) {
      const socket = await w.dial(ALICE);
      socket.on("data", () => undefined);
      halfOpen.push(socket);
    }
    assert.equal(w.back.connectionCount, MAX_CONNECTIONS_PER_UID);
    const bob = await webSocket(w, BOB);
    assert.equal(await askedAs(bob), BOB.uid);
    assert.equal(w.pool.size, 2);
    bob.close();
    // Without a word from them the front cuts them (HANDSHAKE_TIMEOUT_MS).
    await until("all are cut", () =>
      halfOpen.every(({ destroyed, readableEnded }) => destroyed || readableEnded),
    );
    await until("none is counted", () => w.back.connectionCount === 0);
    const alice = await webSocket(w, ALICE);
    assert.equal(await askedAs(alice), ALICE.uid);
    alice.close();
  },
);

test("a worker without connections ends after its time, and is no failure", options, async () => {
  await using w = await world({ idleMs: 300 });
  const alice = await webSocket(w, ALICE);
  const bob = await webSocket(w, BOB);
  const pid = workerPid(w, ALICE.uid);
  alice.close();
  await until("it is gone", () => w.pool.size === 1);
  const [ended] = w.events("worker-ended");
  assert.deepEqual([ended?.["uid"], ended?.["pid"]], [ALICE.uid, pid]);
  assert.deepEqual(w.events("worker-lost"), []);
  // One that has a connection stays, and the next of Alice's is served at once.
  assert.equal(await askedAs(bob), BOB.uid);
  const again = await webSocket(w, ALICE);
  assert.equal(await askedAs(again), ALICE.uid);
  assert.notEqual(workerPid(w, ALICE.uid), pid);
  again.close();
  bob.close();
});

function sparePid(w: World, index: number): number {
  return Number(w.events("spare-started")[index]?.["pid"]);
}

async function spareIsStarted(w: World, count: number): Promise<void> {
  await until(`spare ${count}`, () => w.events("spare-started").length === count);
}

/** CAP_DAC_READ_SEARCH, CAP_SETGID and CAP_SETUID: what starting takes. */
const START_CAPABILITIES = "00000000000000c4";

test(
  "a spare has no socket, no environment, and what starting takes; the first user gets it",
  options,
  async () => {
    await using w = await world({ spares: 1 });
    await spareIsStarted(w, 1);
    const pid = sparePid(w, 0);
    const proc = `/proc/${pid}`;
    // prlimit and setpriv come first in the same process.
    await until("it is Node", () => readlinkSync(`${proc}/exe`) === process.execPath);
    assert.equal(await readFile(`${proc}/environ`, "utf8"), "");
    const status = await readFile(`${proc}/status`, "utf8");
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Groups:\t ?$/m);
    for (const [set, value] of [
      ["Prm", START_CAPABILITIES],
      ["Eff", START_CAPABILITIES],
      ["Bnd", "0".repeat(16)],
      ["Amb", "0".repeat(16)],
    ]) {
      assert.match(status, new RegExp(`^Cap${set}:\t${value}$`, "m"), set);
    }
    const arguments_ = (await readFile(`${proc}/cmdline`, "utf8")).split("\0");
    assert.ok(
      arguments_.every((word) => !/^\d+$/.test(word)),
      "it is told nobody's uid",
    );
    // Its complaints, the channel and the way of the sockets.
    const sockets = ["2", "3", "4"];
    for (const fd of await readdir(`${proc}/fd`)) {
      const target = await readlink(`${proc}/fd/${fd}`).catch(() => "");
      assert.equal(target.startsWith("socket:"), sockets.includes(fd), `${fd}: ${target}`);
    }
    const alice = await webSocket(w, ALICE);
    assert.equal(workerPid(w, ALICE.uid), pid);
    assert.equal(await askedAs(alice), ALICE.uid);
    await assertNobodyBut(ALICE.uid, proc);
    // Another takes its place, for another user.
    await spareIsStarted(w, 2);
    const bob = await webSocket(w, BOB);
    assert.equal(workerPid(w, BOB.uid), sparePid(w, 1));
    assert.equal(await askedAs(bob), BOB.uid);
    await assertNobodyBut(BOB.uid, `/proc/${sparePid(w, 1)}`);
    alice.close();
    bob.close();
  },
);

test("a spare that dies is replaced, later each time; nobody notices", options, async () => {
  await using w = await world({ spares: 1 });
  for (let death = 1; death <= 3; death += 1) {
    await spareIsStarted(w, death);
    process.kill(sparePid(w, death - 1), "SIGKILL");
    await until(`death ${death}`, () => w.events("spare-lost").length === death);
  }
  const waits = w.events("spare-lost").map(({ waitMs }) => waitMs);
  assert.deepEqual(
    waits,
    [1, 2, 4].map((factor) => factor * WORKER_FIRST_BACKOFF_MS),
  );
  const alice = await webSocket(w, ALICE);
  assert.equal(await askedAs(alice), ALICE.uid);
  alice.close();
});

test("a spare that keeps its privileges serves nobody", options, async () => {
  const staysRoot = 'say({ type: "ready" });';
  await using w = await world({ spares: 1, program: hostile(staysRoot) });
  await spareIsStarted(w, 1);
  const alice = await w.dial(ALICE);
  const closed = once(alice, "close");
  alice.resume();
  await until("lost", () => w.events("worker-lost").length > 0);
  assert.match(String(w.events("worker-lost")[0]?.["reason"]), /Uid is "0/);
  await closed;
});

test("without spares none is started, and a stop leaves none", options, async () => {
  {
    await using w = await world();
    await webSocket(w, ALICE);
    assert.deepEqual(w.events("spare-started"), []);
  }
  const w = await world({ spares: 2 });
  await spareIsStarted(w, 2);
  const pids = [sparePid(w, 0), sparePid(w, 1)];
  await w[Symbol.asyncDispose]();
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
});

test("the reserved uid of root's worker is nobody's", options, async () => {
  await using w = await world();
  const socket = await w.dial({ ...ROOT_IDENTITY, pid: 1, groups: [] });
  const [text] = (await once(socket, "data")) as [Buffer];
  assert.match(text.toString(), /^HTTP\/1\.1 503 /);
  assert.equal(w.pool.size, 0);
});

/** What a hostile worker begins with: a way to speak, and the rights that ours would have. */
const PRELUDE = `
  const { Socket } = require("node:net");
  const channel = new Socket({ fd: 3, readable: true, writable: true });
  const say = (head) => {
    const json = Buffer.from(JSON.stringify(head));
    const frame = Buffer.alloc(8 + json.length);
    frame.writeUInt32LE(4 + json.length, 0);
    frame.writeUInt32LE(json.length, 4);
    json.copy(frame, 8);
    channel.write(frame);
  };
  const drop = () => {
    process.setgroups([]);
    process.setgid(UID);
    process.setuid(UID);
  };
  setInterval(() => undefined, 1000);
`;

function hostile(script: string): (identity: Identity | undefined) => readonly string[] {
  return (identity) => ["-e", PRELUDE.replaceAll("UID", String(identity?.uid)) + script];
}

const HOSTILE: readonly (readonly [string, string, RegExp])[] = [
  ["stays root", 'say({ type: "ready" });', /Uid is "0/],
  [
    "keeps a group",
    'process.setgroups([6]); process.setgid(UID); process.setuid(UID); say({ type: "ready" });',
    /Groups is "6/,
  ],
  [
    "is another user",
    'process.setgroups([]); process.setgid(UID); process.setuid(4002); say({ type: "ready" });',
    /Uid is "4002/,
  ],
  [
    "speaks before it is ready",
    'drop(); say({ type: "opened", connection: 1 });',
    /before it was ready/,
  ],
  ["is ready twice", 'drop(); say({ type: "ready" }); say({ type: "ready" });', /ready twice/],
  [
    "names another's connection",
    'drop(); say({ type: "ready" }); say({ type: "opened", connection: 2 });',
    /does not have/,
  ],
  [
    "sends a frame without end",
    'drop(); say({ type: "ready" }); channel.write(Buffer.alloc(4, 255));',
    /4294967295 bytes/,
  ],
  [
    "sends what is no JSON",
    'drop(); say({ type: "ready" }); channel.write(Buffer.from([6, 0, 0, 0, 2, 0, 0, 0, 123, 123]));',
    /JSON/,
  ],
  ["dies", "drop(); process.exit(3);", /exit code 3|closed its channel|ECONNRESET/],
];

test(
  "a hostile program in the worker's place is ended, and others do not notice",
  options,
  async () => {
    for (const [name, script, reason] of HOSTILE) {
      const uidScript = script.replaceAll("UID", String(ALICE.uid));
      const replaced = hostile(uidScript);
      const loyal = hostile('drop(); say({ type: "ready" });');
      await using w = await world({
        program: (identity) => (identity?.uid === ALICE.uid ? replaced(identity) : loyal(identity)),
      });
      const alice = await w.dial(ALICE);
      const closed = once(alice, "close");
      alice.resume();
      const bob = await w.dial(BOB);
      await until(`${name}: lost`, () => w.events("worker-lost").length > 0);
      const [lost] = w.events("worker-lost");
      assert.equal(lost?.["uid"], ALICE.uid, name);
      assert.match(String(lost?.["reason"]), reason, name);
      await closed;
      assert.equal(w.back.connectionCount, 1, name);
      assert.equal(bob.destroyed, false, name);
      await until(`${name}: gone`, () => w.pool.size === 1);
      // Bob's is a stub: the back would wait in vain for its goodbye to him.
      await until(`${name}: Bob's is ready`, () => workerPid(w, BOB.uid) > 0);
      process.kill(workerPid(w, BOB.uid), "SIGKILL");
      await until(`${name}: all are gone`, () => w.pool.size === 0);
    }
  },
);

test("a worker that does not read, or takes too much memory, is ended", options, async () => {
  const deaf =
    'drop(); channel.pause(); say({ type: "ready" }); say({ type: "opened", connection: 1 });';
  {
    await using w = await world({ program: hostile(deaf) });
    await w.dial(ALICE);
    await until("opened", () => w.events("connected").length === 1);
    const text = "x".repeat(1 << 20);
    for (let sent = 0; w.back.push(1, text); sent += 1) assert.ok(sent < 1_000);
    assert.match(String(w.events("worker-lost")[0]?.["reason"]), /does not read/);
  }
  const greedy = 'drop(); say({ type: "ready" }); globalThis.held = Buffer.alloc(512 << 20, 1);';
  await using w = await world({ program: hostile(greedy) });
  await w.dial(ALICE);
  await until("ended", () => w.events("worker-lost").length === 1);
  assert.match(String(w.events("worker-lost")[0]?.["reason"]), /bytes of memory/);
});
