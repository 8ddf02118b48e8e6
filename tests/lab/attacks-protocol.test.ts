/** thinpoold under attack by users without privileges, on the real kernel. Run as root in the lab. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Client } from "@thinpool/sdk";
import { connect } from "@thinpool/sdk";
import { createPool, linuxKernel } from "@thinpool/thinpool";
import { NODE_FLAGS, THINPOOLD } from "./runtime.ts";

const USER = new URL("attacks-protocol-user.ts", import.meta.url).pathname;
const START_TIMEOUT_MS = 120_000;
const CALL_TIMEOUT_MS = 120_000;
const BACKING = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
/** Debian's group of that number; any will do that the machine has. */
const GROUP = { name: "users", gid: 100 };
const VICTIM = 1000;
const ATTACKER = 1001;

const kernel = linuxKernel();
let parent = "";
let socketPath = "";
let policyPath = "";
let daemon: ChildProcess;
let log = "";
let root: Client;

function spawnDaemon(): ChildProcess {
  const args = [...NODE_FLAGS, THINPOOLD, "--folder", join(parent, "pool")];
  args.push("--socket", socketPath, "--socket-group", GROUP.name, "--policy", policyPath);
  return spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
}

async function started(child: ChildProcess): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log += text;
    if (log.includes('"event":"started"')) resolve(undefined);
  });
  child.once("exit", (code) => reject(new Error(`thinpoold ended with ${String(code)}:\n${log}`)));
  const timer = setTimeout(() => reject(new Error(`no start:\n${log}`)), START_TIMEOUT_MS);
  await promise;
  clearTimeout(timer);
  child.removeAllListeners("exit");
}

async function asUser(
  uid: number,
  scenario: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const args = [...NODE_FLAGS, USER, String(uid), String(GROUP.gid), socketPath, scenario];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment,
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const [code] = (await once(child, "close")) as [number | null];
  assert.equal(code, 0, `${scenario} as ${uid} ended with ${String(code)}\n${log.slice(-5000)}`);
  return JSON.parse(text) as unknown;
}

function events(event: string): readonly Readonly<Record<string, unknown>>[] {
  return log
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((fields) => fields["event"] === event);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + CALL_TIMEOUT_MS;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `not in time: ${what}\n${log.slice(-5000)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function pause(ms: number): Promise<false> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return false;
}

async function writePolicy(rules: readonly unknown[]): Promise<void> {
  await writeFile(policyPath, JSON.stringify({ version: 1, rules }), { mode: 0o600 });
}

const MEMBERS = { name: "members", groups: [GROUP.name], allow: { clone: { public: true } } };

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-attack-");
  socketPath = `/run/thinpool/${parent.slice("/tmp/".length)}.sock`;
  policyPath = join(parent, "policy.json");
  await writePolicy([MEMBERS]);
  const pool = await createPool({ folder: join(parent, "pool"), kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: 16n << 20n, filesystem: "none" });
  await pool.createDevice({
    name: "theirs",
    sizeBytes: 16n << 20n,
    filesystem: "none",
    ownerUid: VICTIM,
  });
  await pool.detach();
  daemon = spawnDaemon();
  await started(daemon);
  root = await connect({ socketPath, timeoutMs: CALL_TIMEOUT_MS });
  await root.rights.publish({ name: "base" });
});

after(async () => {
  await root.close();
  const exited = once(daemon, "exit");
  daemon.kill("SIGTERM");
  await exited;
  await rm(parent, { recursive: true, force: true });
});

test("another's device: not by name, not by guess, not by another's or a revoked token", async () => {
  const grant = { device: "theirs", allow: ["clone"], lifetimeMs: 600_000 } as const;
  const other = await root.rights.createToken({ ...grant, uid: 1005 });
  const revoked = await root.rights.createToken(grant);
  await root.rights.revokeToken({ id: revoked.id });
  const got = await asUser(ATTACKER, "another", {
    TOKEN_FOR_OTHER: other.secret,
    TOKEN_REVOKED: revoked.secret,
  });
  assert.deepEqual(got, {
    get: "NOT_FOUND",
    mount: "NOT_FOUND",
    remove: "NOT_FOUND",
    clone: "NOT_FOUND",
    tokenForOther: "NOT_FOUND",
    tokenRevoked: "NOT_FOUND",
    tokenGuessed: "NOT_FOUND",
    publish: "FORBIDDEN",
    test: "FORBIDDEN",
    behalf: "FORBIDDEN",
    behalfOfRoot: "FORBIDDEN",
    giveAway: "NOT_FOUND",
    guesses: ["NOT_MOUNTED", "NOT_FOUND"],
    list: ["base"],
  });
  const audit = events("audit").filter(({ uid }) => uid === ATTACKER);
  assert.ok(audit.every(({ outcome, rule }) => outcome !== "done" && rule !== "members"));
  assert.ok(audit.some(({ onBehalfOf }) => onBehalfOf === 0));
  assert.ok(!log.includes(other.secret) && !log.includes(revoked.secret));
});

test("names with .., NUL and newline, deep JSON, oversized frames: refused, the worker lives", async () => {
  assert.deepEqual(await asUser(ATTACKER, "malformed"), {
    names: ["NAME_INVALID"],
    deep: "NAME_INVALID",
    deepId: "INVALID_REQUEST",
    large: "closed 1009",
    oversized: 1009,
    prototype: "METHOD_NOT_FOUND",
  });
  assert.deepEqual(events("worker-lost"), []);
});

test("100 000 tiny requests, a slow reader, 1 000 half-open connections: others are served meanwhile", async () => {
  for (const scenario of ["flood", "slowReader", "halfOpen"]) {
    const attack = asUser(ATTACKER, scenario);
    const over = attack.then(() => true);
    let slowestMs = 0;
    let asked = 0;
    do {
      const startedAt = performance.now();
      await root.get({ name: "base" });
      slowestMs = Math.max(slowestMs, performance.now() - startedAt);
      asked += 1;
    } while (!(await Promise.race([over, pause(100)])));
    const got = await attack;
    if (scenario === "flood") {
      assert.deepEqual(got, { end: "all answered", codes: ["LIMIT", "done"] });
    } else if (scenario === "slowReader") {
      assert.equal(got, "cut");
      // The client hears of it by its socket, sooner than the log comes here through worker and daemon.
      await until("the daemon tells of it", () =>
        events("connection-cut").some(({ uid }) => uid === ATTACKER),
      );
    } else {
      assert.deepEqual(got, { someRefused: true, open: 0 });
    }
    assert.ok(asked > 0 && slowestMs < 10_000, `${scenario}: ${asked} calls, ${slowestMs} ms`);
  }
});

test("a worker killed in the middle of a call: its client is cut, nobody else's, and nothing is half", async () => {
  const got = (await asUser(ATTACKER, "killWorker")) as { ended: string; killed: string[] };
  assert.ok(["CONNECTION_LOST", "SESSION_GONE", "done"].includes(got.ended), got.ended);
  // His own is killed; those of root's connections, and the spare, are not his to kill.
  assert.deepEqual(new Set(got.killed), new Set(["EPERM", "killed"]));
  await until("the death is noticed", () => events("worker-lost").length > 0);
  assert.equal((await root.get({ name: "base" })).name, "base");
  const half = (await root.list()).filter(({ name }) => name === "half");
  assert.ok(half.every(({ ownerUid }) => ownerUid === ATTACKER));
  for (const { name } of half) await root.remove({ name });
});

test("SIGHUP: a good policy holds at once; one that others can write, or is broken, changes nothing", async () => {
  const answer = async (): Promise<string> =>
    (await root.rights.test({ user: VICTIM, verb: "create" })).rule;
  assert.equal(await answer(), "no rule");
  await writePolicy([{ name: "makers", users: [VICTIM], allow: { create: true } }]);
  daemon.kill("SIGHUP");
  await until("read", () => events("policy-read").length === 1);
  assert.equal(await answer(), "makers");
  await writePolicy([]);
  await chmod(policyPath, 0o666);
  daemon.kill("SIGHUP");
  await until("refused", () => events("policy-refused").length === 1);
  assert.equal(await answer(), "makers");
  await chmod(policyPath, 0o600);
  await writePolicy([{ name: "broken" }]);
  daemon.kill("SIGHUP");
  await until("refused again", () => events("policy-refused").length === 2);
  assert.equal(await answer(), "makers");
});

test("a second daemon does not start, and the first goes on", async () => {
  await writePolicy([MEMBERS]);
  const second = spawnDaemon();
  let text = "";
  second.stderr?.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const [code] = (await once(second, "close")) as [number];
  assert.equal(code, 1);
  assert.match(text, /POOL_LOCKED/);
  assert.equal((await root.status()).state, "working");
});

test("no worker has a privilege, an environment or a file; at the end none is left", async () => {
  const pids = events("worker-ready").map(({ pid }) => Number(pid));
  assert.ok(pids.length >= 2);
  let alive = 0;
  for (const pid of pids) {
    const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
    for (const task of tasks) {
      const status = await readFile(`/proc/${pid}/task/${task}/status`, "utf8");
      assert.doesNotMatch(status, /^Uid:\t0\t/m);
      assert.match(status, /^CapEff:\t0{16}$/m);
      assert.match(status, /^CapBnd:\t0{16}$/m);
      assert.match(status, /^NoNewPrivs:\t1$/m);
    }
    if (tasks.length === 0) continue;
    alive += 1;
    assert.equal(await readFile(`/proc/${pid}/environ`, "utf8"), "");
  }
  assert.ok(alive >= 1);
  await root.close();
  await until("all have ended", () => events("worker-ended").length >= pids.length - 1);
});
