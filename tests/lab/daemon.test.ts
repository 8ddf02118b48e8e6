/** thinpoold on the real kernel: users without privileges, SIGKILL, misuse. Run as root in the lab. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Client, MountEntry } from "@thinpool/sdk";
import { connect, hasCode } from "@thinpool/sdk";
import { createPool, linuxKernel, openPool } from "@thinpool/thinpool";
import { NODE_FLAGS, THINPOOLD } from "./runtime.ts";

const USER = new URL("daemon-user.ts", import.meta.url).pathname;
const START_TIMEOUT_MS = 60_000;
const BACKING = { type: "files", dataBytes: 1n << 30n, metadataBytes: 8n << 20n } as const;
const DEVICE_BYTES = 128n << 20n;
/** mkfs.xfs refuses less than 300 MiB. */
const XFS_BYTES = 320n << 20n;
/** Debian's group of that number; any will do that the machine has. */
const GROUP = { name: "users", gid: 100 };

const kernel = linuxKernel();

let parent = "";
let folder = "";
let socketPath = "";
let daemon: ChildProcess | undefined;
let log = "";

async function startDaemon(): Promise<void> {
  const args = [...NODE_FLAGS, THINPOOLD, "--folder", folder, "--socket", socketPath];
  const child = spawn(process.execPath, [...args, "--socket-group", GROUP.name], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  daemon = child;
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log += text;
    if (log.includes('"event":"started"')) resolve(undefined);
  });
  child.once("exit", (code) => reject(new Error(`thinpoold ended with ${String(code)}:\n${log}`)));
  const timer = setTimeout(() => reject(new Error(`no start:\n${log}`)), START_TIMEOUT_MS);
  log = "";
  await promise;
  clearTimeout(timer);
}

async function endDaemon(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
  assert.ok(daemon !== undefined);
  daemon.removeAllListeners("exit");
  const exited = once(daemon, "exit");
  daemon.kill(signal);
  const [code] = (await exited) as [number | null];
  daemon = undefined;
  return code;
}

/** Runs a scenario of daemon-user.ts as that user; what it printed. */
async function asUser(
  uid: number,
  scenario: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const args = [String(uid), String(GROUP.gid), socketPath, scenario];
  const child = spawn(process.execPath, [...NODE_FLAGS, USER, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment,
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const [code] = (await once(child, "close")) as [number | null];
  assert.equal(code, 0, `${scenario} as ${uid} ended with ${String(code)}\n${log}`);
  return JSON.parse(text) as unknown;
}

/** The references without the time that is left of their leases. */
async function known(client: Client): Promise<readonly unknown[]> {
  return (await client.mounts()).map(({ leaseLeftMs: _left, ...mount }) => mount);
}

async function ours(path: string): Promise<readonly string[]> {
  const all = await kernel.mounts.list();
  return all.map(({ mountPoint }) => mountPoint).filter((point) => point.startsWith(path));
}

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-daemon-");
  folder = join(parent, "pool");
  socketPath = `/run/thinpool/${parent.slice("/tmp/".length)}.sock`;
  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.detach();
  await startDaemon();
  await using root = await connect({ socketPath });
  await root.rights.publish({ name: "base" });
});

after(async () => {
  if (daemon !== undefined) await endDaemon("SIGKILL");
  await rm(parent, { recursive: true, force: true });
});

test("a user clones, mounts twice, writes, and the second release unmounts", async () => {
  assert.deepEqual(await asUser(1000, "work"), {
    owner: 1000,
    group: GROUP.gid,
    rootOwner: 1000,
    listed: [2, 2],
    counts: [1, 0],
    texts: ["written by a user", "written by a user"],
    names: [],
  });
  assert.deepEqual(await ours("/run/thinpool/mounts/1000/"), []);
});

test("SIGKILL with two clones mounted: the next daemon knows both mounts and their counts", async () => {
  const held = (await asUser(1000, "hold")) as readonly MountEntry[];
  assert.deepEqual(
    held.map(({ device, count }) => `${device} ${count}`),
    ["held-a 1", "held-b 2", "held-b 2"],
  );
  const info = (await readFile("/proc/self/mountinfo", "utf8"))
    .split("\n")
    .filter((line) => line.includes("/run/thinpool/mounts/1000/"));
  assert.equal(info.length, 2);
  for (const line of info) assert.match(line, / rw,nosuid,nodev,(\S+,)?idmapped /);
  await endDaemon("SIGKILL");
  assert.equal((await ours("/run/thinpool/mounts/1000/")).length, 2);
  await startDaemon();
  await using root = await connect({ socketPath });
  assert.deepEqual(await known(root), held);

  const misused = await asUser(1001, "misuse", {
    REFERENCE: held[0]?.reference ?? "",
    MOUNT_PATH: held[0]?.path ?? "",
  });
  assert.deepEqual(misused, {
    create: "FORBIDDEN",
    removeImage: "FORBIDDEN",
    mountImage: "FORBIDDEN",
    removeOther: "NOT_FOUND",
    mountOther: "NOT_FOUND",
    getOther: "NOT_FOUND",
    cloneOther: "NOT_FOUND",
    releaseOther: "NOT_MOUNTED",
    mounts: 0,
    names: ["base"],
    enter: "EACCES",
  });
  await assert.rejects(root.remove({ name: "held-a" }), (error) => hasCode(error, "BUSY"));
  assert.deepEqual(await known(root), held);

  assert.deepEqual(await asUser(1000, "giveBack"), {
    mounts: held,
    texts: held.map(({ device }) => device),
  });
  assert.deepEqual(await ours("/run/thinpool/mounts/1000/"), []);
});

test("root mounts its image, and another user's clone for that user", async () => {
  await asUser(1000, "hold");
  await using root = await connect({ socketPath });
  {
    await using image = await root.mount({ device: "base" });
    assert.deepEqual(await readdir(image.path), ["lost+found"]);
    await using shared = await root.mount({ device: "held-a" });
    assert.equal(shared.path, "/run/thinpool/mounts/1000/held-a");
    assert.equal((await root.mounts()).length, 5);
  }
  assert.equal((await root.mounts()).length, 3);
  await asUser(1000, "giveBack");
});

test("two clones of one xfs are mounted side by side", async () => {
  await using root = await connect({ socketPath });
  await root.create({ name: "xfs-base", sizeBytes: XFS_BYTES, filesystem: "xfs" });
  await root.rights.publish({ name: "xfs-base" });
  assert.deepEqual(await asUser(1000, "xfs"), ["first", "second"]);
  await root.remove({ name: "xfs-base" });
});

test("who is not in the socket's group is told so", async () => {
  const args = [...NODE_FLAGS, USER, "1002", "65534", socketPath, "work"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  await once(child, "close");
  assert.match(text, /SOCKET_FORBIDDEN/);
});

test("SIGTERM keeps nothing running; at the end no dm device, loop or mount is left", async () => {
  assert.equal(await endDaemon("SIGTERM"), 0);
  const pool = await openPool({ folder, kernel });
  const { uuid } = pool;
  assert.deepEqual(
    pool.list().map(({ name, active }) => `${name} ${active}`),
    ["base false"],
  );
  await pool.close();
  const devices = await kernel.dm.listDevices();
  const left = devices.filter(({ name }) => name.includes(uuid.slice(0, 8)));
  assert.deepEqual(left, []);
  const loops = await kernel.loops.list();
  assert.deepEqual(
    loops.filter(({ backingFile }) => backingFile.startsWith(folder)),
    [],
  );
  assert.deepEqual(await ours("/run/thinpool/mounts/"), []);
  assert.ok(!(await readdir("/run/thinpool")).some((name) => name.endsWith(".sock")));
});
