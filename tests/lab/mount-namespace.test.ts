/**
 * Mounting in a caller's own mount namespace, as a container has one: with real uids on the real kernel,
 * as root in the lab.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import type { Daemon } from "@thinpool/mount-helper";
import { DEFAULT_MOUNT_RULES, ROOT_MOUNT_RULES, startDaemon } from "@thinpool/mount-helper";
import { connect } from "@thinpool/sdk";
import { createPool, linuxKernel } from "@thinpool/thinpool";
import { run } from "./native-fixture.ts";
import { NODE_FLAGS } from "./runtime.ts";

const USER_PROGRAM = new URL("namespace-user.ts", import.meta.url).pathname;
const BACKING = { type: "files", dataBytes: 512n << 20n, metadataBytes: 8n << 20n } as const;
const DEVICE_BYTES = 64n << 20n;
/** Debian's group "users"; any will do that the machine has. */
const GROUP = { name: "users", gid: 100 };
const USER = 1000;
/** A user who may not mount in another namespace. */
const OTHER = 1001;
/** A restart in the lab is shorter. */
const GRACE_MS = 40_000;
const WAIT_MS = 120_000;

const kernel = linuxKernel();
const log: string[] = [];
let parent = "";
let homes = "";
let socketPath = "";
let daemon: Daemon;

/** A program in a mount namespace of its own, which does what it is told, a line at a time. */
interface Container extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
  ask(command: string, argument?: string): Promise<unknown>;
}

async function container(uid: number, propagation = "private"): Promise<Container> {
  const program = [process.execPath, ...NODE_FLAGS, USER_PROGRAM];
  const args = ["--mount", `--propagation=${propagation}`, ...program];
  const child = spawn("/usr/bin/unshare", [...args, String(uid), String(GROUP.gid), socketPath], {
    stdio: ["pipe", "pipe", "inherit"],
    env: {},
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    assert.notEqual(done, true, "the program has ended");
    return JSON.parse(String(value)) as unknown;
  };
  assert.equal(await next(), "connected");
  const exited = once(child, "exit");
  return {
    child,
    pid: child.pid ?? 0,
    ask: (command, argument = "") => {
      child.stdin.write(`${JSON.stringify([command, argument])}\n`);
      return next();
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

async function start(): Promise<Daemon> {
  return startDaemon({
    folder: join(parent, "pool"),
    socketPath,
    kernel,
    socketGroup: GROUP.name,
    sessionGraceMs: GRACE_MS,
    mountRulesFor: ({ uid }) =>
      uid === 0
        ? ROOT_MOUNT_RULES
        : { ...DEFAULT_MOUNT_RULES, folderRoots: [homes], otherNamespaces: uid === USER },
    logger: { log: (_level, event, fields) => void log.push(`${event} ${JSON.stringify(fields)}`) },
  });
}

async function folderOf(uid: number, name: string): Promise<string> {
  const path = join(homes, name);
  await mkdir(path);
  await chown(path, uid, GROUP.gid);
  return path;
}

async function ownMounts(): Promise<readonly string[]> {
  const all = await kernel.mounts.list();
  return all.map(({ mountPoint }) => mountPoint).filter((path) => path.startsWith(`${parent}/`));
}

/** The mountinfo line of that mount point, as the process sees it. */
async function mountIn(pid: number, path: string): Promise<string | undefined> {
  const lines = (await readFile(`/proc/${pid}/mountinfo`, "utf8")).split("\n");
  return lines.find((line) => line.split(" ")[4] === path);
}

async function isActive(name: string): Promise<boolean> {
  await using root = await connect({ socketPath, timeoutMs: WAIT_MS });
  return (await root.get({ name })).active;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `not in time: ${what}\n${log.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-namespace-");
  await chmod(parent, 0o755);
  homes = join(parent, "homes");
  await mkdir(homes, { mode: 0o755 });
  socketPath = `/run/thinpool/${parent.slice("/tmp/".length)}.sock`;
  const pool = await createPool({ folder: join(parent, "pool"), kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.detach();
  daemon = await start();
  await using root = await connect({ socketPath, timeoutMs: WAIT_MS });
  await root.rights.publish({ name: "base" });
});

after(async () => {
  await daemon.stop({ teardown: true });
  assert.deepEqual(await ownMounts(), []);
  await kernel[Symbol.asyncDispose]();
  await rm(parent, { recursive: true, force: true });
});

test("in a container a folder of one's own is mounted on there, and nobody outside sees it", async () => {
  const folder = await folderOf(USER, "inside");
  await using user = await container(USER);
  await user.ask("clone", "first");
  assert.equal(await user.ask("mount", folder), folder);
  assert.equal(await user.ask("write", folder), `${USER}`, "the file is its maker's");
  const options = (await mountIn(user.pid, folder))?.split(" ")[5];
  assert.equal(options, "rw,nosuid,nodev,relatime,idmapped");
  assert.deepEqual(await ownMounts(), []);
  // One more reference to the same place; the first release leaves it mounted.
  assert.equal(await user.ask("mount", folder), folder);
  assert.equal(await user.ask("release"), 1);
  assert.notEqual(await mountIn(user.pid, folder), undefined);
  assert.equal(await user.ask("release"), 0);
  assert.equal(await mountIn(user.pid, folder), undefined);
  assert.equal(await isActive("first"), false);
  assert.equal(await user.ask("remove", "first"), "done");
});

test("a mount that is in use there stays, and its reference with it", async () => {
  const folder = await folderOf(USER, "busy");
  await using user = await container(USER);
  await user.ask("clone", "busy");
  await user.ask("mount", folder);
  await user.ask("enter", folder);
  assert.equal(await user.ask("release"), "BUSY");
  assert.notEqual(await mountIn(user.pid, folder), undefined);
  await user.ask("enter", "/");
  assert.equal(await user.ask("release"), 0);
  assert.equal(await user.ask("remove", "busy"), "done");
});

test("the same path in two containers is two places", async () => {
  const folder = await folderOf(USER, "twice");
  await using one = await container(USER);
  await using two = await container(USER);
  await one.ask("clone", "one");
  await two.ask("clone", "two");
  await one.ask("mount", folder);
  await two.ask("mount", folder);
  await one.ask("write", folder);
  assert.deepEqual(await two.ask("names", folder), ["lost+found"]);
  assert.equal(await one.ask("release"), 0);
  assert.notEqual(await mountIn(two.pid, folder), undefined);
  assert.equal(await two.ask("release"), 0);
  for (const name of ["one", "two"]) assert.equal(await one.ask("remove", name), "done");
});

test("with the container its mount goes; the reference is settled when its session ends", async () => {
  const folder = await folderOf(USER, "gone");
  {
    await using user = await container(USER);
    await user.ask("clone", "gone");
    await user.ask("mount", folder);
    assert.equal(await isActive("gone"), true);
  }
  await until("it is deactivated", async () => !(await isActive("gone")));
  await using user = await container(USER);
  assert.equal(await user.ask("remove", "gone"), "done");
});

test("a restarted daemon finds the mount by its id in that namespace, and takes it down", async () => {
  const folder = await folderOf(USER, "restart");
  await using user = await container(USER);
  await user.ask("clone", "restart");
  await user.ask("mount", folder);
  await daemon.stop();
  daemon = await start();
  assert.equal(
    log.some((line) => line.startsWith("record-dropped") && line.includes("restart")),
    false,
  );
  assert.notEqual(await mountIn(user.pid, folder), undefined);
  // The client resumes its session, and so its reference.
  assert.equal(await user.ask("release"), 0);
  assert.equal(await mountIn(user.pid, folder), undefined);
  assert.equal(await user.ask("remove", "restart"), "done");
});

test("refused: by policy, in another's folder, where it would be seen outside", async () => {
  const [own, theirs] = [await folderOf(USER, "own"), await folderOf(OTHER, "theirs")];
  {
    await using other = await container(OTHER);
    await other.ask("clone", "not-allowed");
    assert.equal(await other.ask("mount", theirs), "UNSUPPORTED");
    assert.equal(await other.ask("remove", "not-allowed"), "done");
  }
  await using user = await container(USER);
  await user.ask("clone", "refused");
  assert.equal(await user.ask("mount", theirs), "FORBIDDEN");
  assert.equal(await user.ask("mount", "/etc"), "FORBIDDEN");
  assert.equal(await user.ask("mount", join(homes, "none")), "INVALID_PARAMS");
  assert.equal(await user.ask("remove", "refused"), "done");
  // A peer group of which the daemon's own mounts are.
  await run("/usr/bin/mount", "--bind", homes, homes);
  try {
    await run("/usr/bin/mount", "--make-shared", homes);
    await using shared = await container(USER, "unchanged");
    await shared.ask("clone", "shared");
    assert.equal(await shared.ask("mount", own), "UNSUPPORTED");
    assert.equal(await mountIn(shared.pid, own), undefined);
    assert.equal(await shared.ask("remove", "shared"), "done");
  } finally {
    await run("/usr/bin/umount", homes);
  }
});
