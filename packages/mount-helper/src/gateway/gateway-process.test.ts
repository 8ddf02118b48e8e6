/** The gateway's process, ours and a hostile one in its place: takes root. */
import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import { once } from "node:events";
import { readFile, readlink, readdir } from "node:fs/promises";
import type { Socket } from "node:net";
import { createConnection } from "node:net";
import { test } from "node:test";
import { listenTcp, socketPair } from "@thinpool/thinpool";
import { jsonLogger } from "../log.ts";
import { cached } from "../worker/cached-program.test.support.ts";
import { privilegeIn } from "../worker/privileges.ts";
import type { Identity } from "../worker/privileges.ts";
import { GatewayProcess, gatewayProgram } from "./gateway-process.ts";

const options = { skip: process.geteuid?.() === 0 ? false : "it takes root" };
const IDENTITY: Identity = { uid: 65_532, gid: 65_532 };
const START_TIMEOUT_MS = 60_000;
const TOKEN = "t".repeat(43);
/** Where a hostile program finds what it is given. */
const CHANNEL = "../worker/confined-main.ts";

interface World extends AsyncDisposable {
  readonly asked: string[];
  readonly port: number;
  readonly gateway: GatewayProcess;
  events(event: string): readonly Readonly<Record<string, unknown>>[];
}

/** `program`: what Node runs in place of our gateway; default: ours, with a cache. */
function world(program: readonly string[] = cached(gatewayProgram())): World {
  const log: string[] = [];
  const asked: string[] = [];
  const { descriptor, port } = listenTcp("127.0.0.1", 0, 16);
  const gateway = new GatewayProcess({
    remote: {
      admit: (token) => {
        asked.push(token);
        const [own, theirs] = socketPair();
        closeSync(own);
        return Promise.resolve(token === TOKEN ? theirs : undefined);
      },
      note: (reason) => void asked.push(reason),
    },
    listening: descriptor,
    origins: [],
    // What is no certificate: TLS is for tests/e2e/tcp.test.ts.
    certificate: { certificate: "", key: "" },
    identity: IDENTITY,
    logger: jsonLogger((line) => log.push(line)),
    program,
  });
  return {
    asked,
    port,
    gateway,
    events: (event) =>
      log
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((fields) => fields["event"] === event),
    [Symbol.asyncDispose]: () => gateway.end(),
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `not within the time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A program that serves the daemon as ours does, and then `says` these. */
function hostile(says: string): readonly string[] {
  const module = JSON.stringify(new URL(CHANNEL, import.meta.url).href);
  const program = `
    const { serveDaemon } = await import(${module});
    serveDaemon(1 << 20, (daemon) => {
      const say = (...messages) => messages.forEach((message) => daemon.send(message));
      return ({ head }) => { if (head.type === "certificate") { ${says} } };
    });
  `;
  return cached(["--conditions=source", "--input-type=module", "-e", program]);
}

test(
  "it has no privileges, no environment, nothing but its channels and the port",
  options,
  async () => {
    // As thinpoold starts it, to the letter.
    await using w = world(gatewayProgram());
    await until("ready", () => w.events("gateway-ready").length === 1);
    const pid = Number(w.events("gateway-ready")[0]?.["pid"]);
    for (const thread of await readdir(`/proc/${pid}/task`)) {
      const status = await readFile(`/proc/${pid}/task/${thread}/status`, "utf8");
      assert.equal(privilegeIn(status, IDENTITY), undefined);
    }
    assert.equal((await readFile(`/proc/${pid}/environ`)).length, 0);
    const links = await Promise.all(
      (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`)),
    );
    const files = links.filter((link) => !/^(socket|pipe|anon_inode):|^\/dev\/null$/.test(link));
    assert.deepEqual(files, []);
  },
);

test("one that dies is started again, and who knocked meanwhile is heard", options, async () => {
  await using w = world();
  await until("ready", () => w.events("gateway-ready").length === 1);
  process.kill(Number(w.events("gateway-ready")[0]?.["pid"]), "SIGKILL");
  const client: Socket = createConnection({ host: "127.0.0.1", port: w.port });
  client.on("error", () => {
    // ECONNRESET: what it says is no TLS.
  });
  await once(client, "connect");
  client.end("no TLS");
  await until("heard", () => w.asked.includes("no TLS"));
  assert.equal(w.events("gateway-ready").length, 2);
  assert.equal(w.events("gateway-lost").length, 1);
});

test(
  "where the next one can't be started it is tried again, and the daemon goes on",
  options,
  async () => {
    const program = ["-e", ""];
    await using w = world(program);
    // What Node refuses to start, as it does where the machine has no memory for a process.
    program[1] = "\0";
    await until("a start has failed", () => w.events("gateway-not-started").length > 0);
    program[1] = "";
    const lost = w.events("gateway-lost").length;
    await until("another one was started", () => w.events("gateway-lost").length > lost);
  },
);

test("a hostile one in its place is ended; no token, no socket", options, async () => {
  for (const [says, reason] of [
    [`say({ type: "ask", id: 1, token: "short", address: "" })`, "a message that is none"],
    [`say({ type: "ask", id: 0, token: "${TOKEN}", address: "" })`, "a message that is none"],
    [`say({ type: "note", reason: "${"x".repeat(20)}", address: "" })`, "a message that is none"],
    [`say({ type: "note", reason: "no TLS", address: "\\n{}" })`, "a message that is none"],
    [`say({ type: "become", uid: 0 })`, "a message that is none"],
    [`say("x".repeat(2000))`, /a frame of \d+ bytes/],
  ] as const) {
    await using w = world(hostile(says));
    await until(says, () => w.events("gateway-lost").length > 0);
    assert.match(String(w.events("gateway-lost")[0]?.["reason"]), new RegExp(reason));
    assert.deepEqual(w.asked, []);
  }
});

test("a flood of questions is answered no faster than it may ask", options, async () => {
  const flood = `for (let id = 1; id <= 2000; id += 1) say({ type: "ask", id, token: "${"u".repeat(43)}", address: "" });`;
  await using w = world(hostile(flood));
  await until("asked", () => w.asked.length > 0);
  const startedAt = performance.now();
  await until("all answered", () => w.asked.length === 2000);
  assert.ok(performance.now() - startedAt > 100, "it was read without a rest");
});

test("a stop leaves no process", options, async () => {
  const w = world(hostile(""));
  await until("ready", () => w.events("gateway-ready").length === 1);
  await w.gateway.end();
  assert.equal(w.events("gateway-ended").length, 1);
  assert.equal(w.events("gateway-lost").length, 0);
});
