/**
 * The examples as a newcomer runs them: each a program of uid 1000, against the real daemon. What is
 * killed leaves nothing.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { Client } from "@thinpool/sdk";
import { connect } from "@thinpool/sdk";
import { linuxKernel } from "@thinpool/thinpool";
import { USERS, daemonProcess } from "./daemon-process.ts";
import { kernelState } from "./kernel-state.ts";
import { NODE_FLAGS } from "./runtime.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url).pathname;
const UID = 1000;
/** A PostgreSQL data folder is 25 MB before anything is in it. */
const IMAGE_BYTES = 256n << 20n;
/** What a killed client held goes after so long; by default after 30, which three of these would wait for. */
const SESSION_GRACE_SECONDS = 1;
/** For a slow guest. */
const GONE_WITHIN_MS = 120_000;
const PROGRAM_TIMEOUT_MS = 300_000;
const DAY_MS = 86_400_000;
/** What follows is a program. */
const SCRIPT = ["--input-type=module-typescript", "--eval"];
const IN_IMAGE = "from the image\n";

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Where uid 1000 keeps what Node compiled, for its next program: most of a start in an emulated kernel. What
 * Node keeps is each user's own.
 */
async function compileCache(): Promise<AsyncDisposable & { readonly folder: string }> {
  const folder = await mkdtemp("/tmp/compile-cache-");
  await chown(folder, UID, USERS.gid);
  return {
    folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** One example's folder, whose programs run as uid 1000. */
function exampleUser(example: string, socketPath: string, compiled: string) {
  const start = (...args: readonly string[]): ChildProcess =>
    spawn(process.execPath, [...NODE_FLAGS, ...args], {
      cwd: join(EXAMPLES, example),
      uid: UID,
      gid: USERS.gid,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: PROGRAM_TIMEOUT_MS,
      env: {
        PATH: process.env["PATH"],
        HOME: "/tmp",
        NO_COLOR: "1",
        THINPOOL_SOCKET: socketPath,
        NODE_COMPILE_CACHE: compiled,
      },
    });
  const run = async (...args: readonly string[]): Promise<Outcome> => {
    const child = start(...args);
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => void (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, stdout, stderr };
  };
  return { start, run };
}

async function printed(child: ChildProcess, wanted: string): Promise<void> {
  assert.ok(child.stdout !== null && child.stderr !== null);
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => void (text += part));
  for await (const part of child.stdout.setEncoding("utf8")) {
    text += String(part);
    if (text.includes(wanted)) return;
  }
  assert.fail(`it ended without '${wanted}':\n${text}`);
}

async function onlyLeft(client: Client, ...wanted: readonly string[]): Promise<void> {
  const names = async (): Promise<readonly string[]> =>
    (await client.list()).map(({ name }) => name).toSorted();
  const deadline = performance.now() + GONE_WITHIN_MS;
  while ((await names()).length > wanted.length && performance.now() < deadline) {
    await setTimeout(100);
  }
  assert.deepEqual(await names(), wanted);
}

/** PostgreSQL asks who it is: uid 1000 gets an account where the machine has none. */
async function account(): Promise<Disposable> {
  const accounts = await readFile("/etc/passwd", "utf8");
  if (accounts.split("\n").some((line) => line.split(":")[2] === String(UID))) {
    return { [Symbol.dispose]: () => undefined };
  }
  const file = "/tmp/passwd-with-user";
  await writeFile(file, `${accounts}user:x:${UID}:${USERS.gid}::/tmp:/bin/sh\n`);
  execFileSync("mount", ["--bind", file, "/etc/passwd"]);
  return { [Symbol.dispose]: () => void execFileSync("umount", ["/etc/passwd"]) };
}

test("the examples as uid 1000", async (t) => {
  const before = kernelState();
  {
    await using kernel = linuxKernel();
    using _account = await account();
    await using daemon = await daemonProcess(kernel, {
      imageBytes: IMAGE_BYTES,
      // A spare one would be started anew for each user who takes one: here are two, and they come once.
      more: ["--session-grace", String(SESSION_GRACE_SECONDS), "--spare-workers", "0"],
    });
    await using root = await connect({ socketPath: daemon.socketPath });
    {
      await using mount = await root.mount({ device: "base" });
      await writeFile(join(mount.path, "file"), IN_IMAGE);
    }
    await using cache = await compileCache();
    const user = (example: string) => exampleUser(example, daemon.socketPath, cache.folder);
    await t.test("a workspace per CI job", () => ciWorkspace(user("ci-workspace"), root));
    await t.test("a scratch tree per agent", () => agentScratch(user("agent-scratch"), root));
    await t.test("a root disk per microVM", () => microvmDisk(user("microvm-disk"), root));
    await t.test("nightly snapshots", () => nightly(user("nightly-snapshots"), root));
    await t.test("PostgreSQL per test", () => postgres(user("postgres-per-test"), root));
  }
  assert.deepEqual(kernelState(), before, "no device, loop or mount is left");
});

type User = ReturnType<typeof exampleUser>;

async function ciWorkspace({ start, run }: User, root: Client): Promise<void> {
  const job = (script: string): readonly string[] => ["run-job.ts", "base", "sh", "-c", script];
  const done = await run(...job("cat file; id -u; echo changed >file; sleep 600 & exit 3"));
  assert.equal(done.code, 3, done.stderr);
  assert.equal(done.stdout, `${IN_IMAGE}${UID}\n`);
  await onlyLeft(root, "base");
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const running = start(...job("echo started; exec sleep 600"));
    await printed(running, "started");
    const ended = once(running, "exit");
    running.kill(signal);
    assert.deepEqual(await ended, signal === "SIGTERM" ? [143, null] : [null, "SIGKILL"]);
    await onlyLeft(root, "base");
  }
  await using mount = await root.mount({ device: "base", readOnly: true });
  assert.equal(await readFile(join(mount.path, "file"), "utf8"), IN_IMAGE);
}

async function agentScratch({ run }: User, root: Client): Promise<void> {
  const scratch = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await run("scratch.ts", ...args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  const path = await scratch("open", "base", "a1", "3600");
  assert.equal(await readFile(join(path, "file"), "utf8"), IN_IMAGE);
  assert.equal(await scratch("open", "base", "a1", "3600"), path);
  const other = await scratch("open", "base", "a2", "3600");
  await scratch("end", "a2");
  assert.notEqual(other, path);
  await onlyLeft(root, "base", "scratch-a1");
  assert.equal(await scratch("renew", "a1", "2"), path);
  await onlyLeft(root, "base");
  assert.equal(await scratch("renew", "a1", "2"), "");
}

/** In place of a virtual machine a program that reads and writes its disk. */
async function microvmDisk({ start, run }: User, root: Client): Promise<void> {
  const monitor = (script: string): readonly string[] => {
    return ["run-vm.ts", "base", "sh", "-c", script, "sh", "{disk}"];
  };
  const write = "dd if=/dev/zero of=$1 bs=4096 seek=12000 count=1 conv=notrunc,fsync status=none";
  const done = await run(
    ...monitor(`${write} && head -c 1082 "$1" | tail -c 2 | od -An -tx1; exit 3`),
  );
  assert.equal(done.code, 3, done.stderr);
  assert.equal(done.stdout.trim(), "53 ef", "the image's filesystem is on it");
  await onlyLeft(root, "base");
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const running = start(...monitor('exec 3<>"$1"; echo started; exec sleep 600'));
    await printed(running, "started");
    const ended = once(running, "exit");
    running.kill(signal);
    assert.deepEqual(await ended, signal === "SIGTERM" ? [143, null] : [null, "SIGKILL"]);
    await onlyLeft(root, "base");
  }
}

async function nightly({ run }: User, root: Client): Promise<void> {
  const nights = [1, 2, 3, 10].map((ago) =>
    new Date(Date.now() - ago * DAY_MS).toISOString().slice(0, 10),
  );
  const earlier = await run(
    ...SCRIPT,
    `import { connect } from "@thinpool/sdk";
    await using client = await connect();
    await client.clone({ origin: "base", name: "data" });
    for (const date of ${JSON.stringify(nights)}) {
      await client.clone({ origin: "data", name: "data." + date });
      const labels = { "nightly-of": "data", "nightly-date": date };
      await client.devices.update({ name: "data." + date, labels });
    }`,
  );
  assert.equal(earlier.code, 0, earlier.stderr);
  await using mount = await root.mount({ device: "data" });
  await writeFile(join(mount.path, "file"), "tonight");
  const first = await run("nightly.ts", "2", "0", "data");
  assert.equal(first.code, 0, first.stderr);
  const left = (await root.list()).map(({ name }) => name).filter((name) => name.includes("."));
  const [made = ""] = left.filter((name) => !nights.some((date) => name.endsWith(date)));
  assert.deepEqual(left.toSorted(), [`data.${nights[0]}`, made], "tonight and the night before");
  assert.equal((await root.get({ name: made })).ownerUid, UID);
  {
    await using snapshot = await root.mount({ device: made, readOnly: true });
    assert.equal(await readFile(join(snapshot.path, "file"), "utf8"), "tonight");
  }
  const again = await run("nightly.ts", "2", "0", "data");
  assert.deepEqual([again.code, again.stdout], [0, ""], again.stderr);
  await mount.release();
  for (const name of [...left, "data"]) await root.remove({ name });
}

async function postgres({ start, run }: User, root: Client): Promise<void> {
  const base = "postgres-base";
  const schema = "create table users (name text); insert into users values ('Ada')";
  // As from an earlier time: what is prepared takes its place.
  await root.clone({ origin: "base", name: base, onBehalfOf: UID });
  const earlier = await root.get({ name: base });
  const prepared = await run("prepare.ts", "base", base, schema);
  assert.equal(prepared.code, 0, prepared.stderr);
  await onlyLeft(root, "base", base);
  assert.notEqual((await root.get({ name: base })).uuid, earlier.uuid);
  const inNode = await run("--test", "with-node-test.test.ts");
  assert.equal(inNode.code, 0, inNode.stdout);
  assert.match(inNode.stdout, /pass 2\n/);
  // In the guest the repository can't be written to: the configuration is not bundled first.
  const inVitest = await run("node_modules/vitest/vitest.mjs", "run", "--configLoader", "native");
  assert.equal(inVitest.code, 0, `${inVitest.stdout}${inVitest.stderr}`);
  assert.match(inVitest.stdout, /Tests .*2 passed/);
  await onlyLeft(root, "base", base);
  const killed = start(
    ...SCRIPT,
    `import { connect } from "@thinpool/sdk";
    import { freshDatabase } from "./postgres.ts";
    const { query } = await freshDatabase(await connect(), { base: "${base}" });
    console.log(await query("select 'served'"));`,
  );
  await printed(killed, "served");
  const ended = once(killed, "exit");
  killed.kill("SIGKILL");
  await ended;
  await onlyLeft(root, "base", base);
  await root.remove({ name: base });
}
