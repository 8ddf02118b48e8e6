/** The command line's verbs on a real kernel: as root, as uid 1000, and a stranger with a token. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { type CliOptions, cliArguments, PLAIN_FAILURE, thinpool } from "../e2e/cli-process.ts";
import { kernelState } from "./kernel-state.ts";

/** The group "users" of Debian's base system: its members may connect. */
const GROUP = { name: "users", gid: 100 };
const USER = { uid: 1000, gid: GROUP.gid };
const STRANGER = { uid: 1001, gid: GROUP.gid };
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 200;
const STOP_TIMEOUT_MS = 60_000;
const MIB = 1 << 20;

const run = promisify(execFile);

suite("the verbs of thinpool on a real kernel", () => {
  const untouched = kernelState();
  let scratch = "";
  let folder = "";
  let policy = "";
  let env: Record<string, string> = {};
  let runtime = { node: "", repository: "" };
  let daemon: ChildProcess | undefined;

  async function ok(args: readonly string[], options: CliOptions = {}): Promise<string> {
    const { exitCode, stdout, stderr } = await thinpool(args, { env, runtime, ...options });
    assert.equal(exitCode, 0, `${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  async function json<Value>(args: readonly string[], options: CliOptions = {}): Promise<Value> {
    return JSON.parse(await ok([...args, "--json"], options)) as Value;
  }

  async function refused(
    exitCode: number,
    args: readonly string[],
    options: CliOptions = {},
  ): Promise<string> {
    const result = await thinpool(args, { env, runtime, ...options });
    assert.match(result.stderr, PLAIN_FAILURE);
    assert.deepEqual([result.exitCode, result.stdout], [exitCode, ""], result.stderr);
    return result.stderr;
  }

  async function serve(): Promise<void> {
    const options = ["--socket-group", GROUP.name, "--mount-root", join(scratch, "mounts")];
    options.push("--policy", policy);
    daemon = spawn(process.execPath, cliArguments(["serve", "--teardown", ...options]), {
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    const deadline = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      assert.equal(daemon.exitCode, null, "the daemon ended before it was ready");
      assert.ok(Date.now() < deadline, `the daemon was not ready in ${READY_TIMEOUT_MS} ms`);
      if ((await thinpool(["pool", "status"], { env, runtime })).exitCode === 0) return;
      await delay(READY_POLL_MS);
    }
  }

  async function stop(): Promise<void> {
    assert.ok(daemon !== undefined);
    const ended = once(daemon, "exit", { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
    daemon.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null]);
    daemon = undefined;
  }

  before(async () => {
    scratch = await mkdtemp("/tmp/cli-commands-");
    folder = join(scratch, "pool");
    env = { THINPOOL_SOCKET: join(scratch, "socket", "thinpool.sock"), THINPOOL_FOLDER: folder };
    // Where every user can reach them: they may lie in root's home.
    runtime = { node: join(scratch, "node"), repository: join(scratch, "repository") };
    policy = join(scratch, "policy.json");
    // By their numbers: the machine has no account of theirs, which would say their groups.
    const rule = {
      name: "testers",
      users: [USER.uid, STRANGER.uid],
      allow: { clone: { public: true } },
    };
    await writeFile(policy, JSON.stringify({ version: 1, rules: [rule] }), { mode: 0o644 });
    await mkdir(join(scratch, "socket"));
    await chmod(scratch, 0o755);
    await writeFile(runtime.node, "");
    await mkdir(runtime.repository);
    await run("mount", ["--bind", process.execPath, runtime.node]);
    await run("mount", ["--bind", join(import.meta.dirname, "../.."), runtime.repository]);
    const sizes = ["--data-size", "512MiB", "--metadata-size", "8MiB", "--low-water", "16MiB"];
    await ok(["pool", "create", ...sizes]);
    await serve();
  });

  after(async () => {
    daemon?.kill("SIGKILL");
    await run("umount", [runtime.node]);
    await run("umount", [runtime.repository]);
    await rm(scratch, { recursive: true, force: true });
    assert.deepEqual(kernelState(), untouched);
  });

  test("image create: a folder with all that comes along, and what doesn't", async () => {
    // On ext4, which has users' extended attributes and device nodes.
    await ok(["device", "create", "source", "--size", "64MiB"]);
    const source = await ok(["mount", "source"]);
    const from = join(source, "root");
    await mkdir(join(from, "sub"), { recursive: true });
    await writeFile(join(from, "sub", "file"), "content", { mode: 0o640 });
    await chown(join(from, "sub", "file"), 1234, 4321);
    await writeFile(join(from, "program"), "#!/bin/sh\n");
    await chmod(join(from, "program"), 0o6755);
    const script = "import os,sys; os.setxattr(sys.argv[1], 'user.origin', b'here')";
    await run("python3", ["-c", script, join(from, "program")]);
    await run("mknod", [join(from, "disk"), "b", "7", "0"]);
    await run("mkfifo", [join(from, "pipe")]);

    await refused(4, ["image", "create", "base", "--from-folder", "/tmp"], { user: USER });
    const made = await json<{ readonly copied: Record<string, unknown> }>([
      ...["image", "create", "base", "--from-folder", from, "--size", "64MiB"],
    ]);
    assert.deepEqual([made.copied["specialFilesLeftOut"], made.copied["setIdsTaken"]], [2, 1]);
    await ok(["umount", "source"]);
    await ok(["device", "remove", "source"]);

    const place = await ok(["mount", "base", "--read-only"]);
    assert.deepEqual((await readdir(place)).toSorted(), ["lost+found", "program", "sub"]);
    const file = await lstat(join(place, "sub", "file"));
    assert.deepEqual([file.uid, file.gid, file.mode & 0o7777], [1234, 4321, 0o640]);
    assert.equal((await lstat(join(place, "program"))).mode & 0o7777, 0o755);
    const read = "import os,sys; print(os.getxattr(sys.argv[1], 'user.origin').decode())";
    const { stdout } = await run("python3", ["-c", read, join(place, "program")]);
    assert.equal(stdout, "here\n");
    await ok(["umount", "base"]);
    assert.match(await ok(["image", "list"], { user: USER }), /^base +64 MiB +ext4 /m);
    // A folder that does not fit leaves nothing.
    const large = join(scratch, "large");
    await mkdir(large);
    await writeFile(join(large, "file"), Buffer.alloc(16 * MIB, 1));
    const small = ["image", "create", "small", "--from-folder", large, "--size", "8MiB"];
    assert.match(await refused(1, small), /No space left|tar/);
    await refused(3, ["device", "show", "small"]);
    assert.deepEqual(await json(["mounts"]), []);
  });

  test("a user: ephemeral clones, labels, sizes, snapshots of one moment, going back", async () => {
    const as = { user: USER };
    const place = await ok(["device", "clone", "base", "job", "--ephemeral", "--lease", "1h"], as);
    assert.equal((await lstat(join(place, "program"))).uid, USER.uid);
    assert.match(await ok(["lease", "list"], as), /^job +(59m|1h)/m);
    assert.match(await ok(["lease", "renew", "job", "--for", "2h"], as), /^job: ends in/);
    assert.equal(await ok(["lease", "release", "job"], as), "job: unmounted");
    await refused(3, ["device", "show", "job"], as);

    assert.equal(await ok(["device", "clone", "base", "mine"], as), "mine");
    assert.equal(await ok(["device", "label", "mine", "team=storage"], as), "team=storage");
    assert.equal(await ok(["device", "rename", "mine", "own"], as), "own");
    const own = await ok(["mount", "own"], as);
    await writeFile(join(own, "note"), "before");
    await refused(5, ["device", "rename", "own", "mine"], as);
    const sizeBefore = Number(
      (await run("df", ["--output=size", "-B1", own])).stdout.split("\n")[1],
    );
    assert.match(await ok(["device", "resize", "own", "96MiB"], as), /^own: 96 MiB, and its/);
    const grown = Number((await run("df", ["--output=size", "-B1", own])).stdout.split("\n")[1]);
    assert.ok(grown > sizeBefore + 16 * MIB, `${sizeBefore} to ${grown}`);
    const several = ["device", "snapshot", "own", "own-1", "base", "base-1"];
    assert.equal(await ok(several, as), "own-1\nbase-1");
    await writeFile(join(own, "note"), "after");
    await refused(5, ["device", "revert", "own", "own-1", "--yes"], as);
    await ok(["umount", "own"], as);
    assert.equal(await ok(["device", "revert", "own", "own-1", "--yes"], as), "own");
    const again = await ok(["mount", "own"], as);
    assert.equal(await readFile(join(again, "note"), "utf8"), "before");
    await ok(["umount", "own"], as);
    await refused(4, ["image", "publish", "own"], as);
    await refused(4, ["mount", "own", "--at", join(scratch, "socket")], as);
  });

  test("a token lets a stranger clone, and mount read-only, until it is revoked", async () => {
    const [as, other] = [{ user: USER }, { user: STRANGER }];
    await refused(3, ["device", "clone", "own", "his"], other);
    const token = await json<{ readonly id: string; readonly secret: string }>(
      [
        "token",
        "create",
        "own",
        "--allow",
        "clone",
        "--allow",
        "mount-read-only",
        "--user",
        "1001",
      ],
      as,
    );
    const withToken = { ...other, env: { ...env, THINPOOL_TOKEN: token.secret } };
    assert.equal(await ok(["device", "clone", "own", "his"], withToken), "his");
    const place = await ok(["mount", "own", "--lease", "1h"], withToken);
    await assert.rejects(writeFile(join(place, "x"), ""), { code: "EROFS" });
    await ok(["umount", "own"], other);
    assert.match(await ok(["token", "list"], as), new RegExp(`^${token.id} +own `, "m"));
    await refused(3, ["token", "revoke", token.id], other);
    await ok(["token", "revoke", token.id], as);
    await refused(3, ["device", "clone", "own", "his-2"], withToken);
    await ok(["device", "remove", "his"], other);
  });

  test("the policy: shown from its file, and asked about others by root", async () => {
    const shown = await ok(["policy", "show", "--policy", policy], { user: USER });
    assert.match(shown, /^about: +users 1000, 1001$/m);
    assert.equal(await ok(["policy", "test", "1000", "clone", "base"]), "allowed by testers");
    assert.equal(await ok(["policy", "test", "1000", "remove", "base"]), "refused by no rule");
    await refused(4, ["policy", "test", "1000", "use"], { user: USER });
  });

  test("on behalf of another: root may, a user may not", async () => {
    await ok(["device", "clone", "base", "given", "--on-behalf-of", "1000"]);
    await ok(["device", "remove", "given"], { user: USER });
    await refused(4, ["device", "clone", "base", "x", "--on-behalf-of", "1001"], { user: USER });
  });

  test("with a daemon on it the pool is left alone, and nobody but root gets near", async () => {
    for (const verb of ["check", "events", "recover", "backup", "repair"]) {
      await refused(5, ["pool", verb]);
    }
    await refused(5, ["pool", "destroy", "--yes"]);
    assert.match(await ok(["pool", "list"]), new RegExp(`up +yes +512 MiB .* ${folder}$`, "m"));
    await refused(4, ["pool", "list"], { user: USER });
    await refused(4, ["pool", "check"], { user: USER });
  });

  test("without one: checked, backed up, extended, restored, destroyed", async () => {
    await stop();
    assert.equal(await ok(["pool", "check", "--mappings"]), "metadata clean, nothing is wrong");
    assert.match(await ok(["pool", "events"]), /device-created +name=own-1 /);
    assert.match(await ok(["pool", "recover", "--plan"]), /^Opening would find all in order\./);
    assert.equal(await ok(["pool", "recover"]), "All was in order.");
    const backup = await ok(["pool", "backup"]);
    assert.equal(
      await ok(["pool", "extend", "--data-size", "768MiB"]),
      "data 768 MiB, metadata 8 MiB",
    );
    // With --direct the daemon's commands work as well.
    await ok(["device", "clone", "base", "later", "--direct"]);
    assert.match(await ok(["device", "list", "--direct"]), /^later /m);
    assert.match(await ok(["pool", "restore", "--yes"]), new RegExp(`^${backup}: transaction`));
    assert.doesNotMatch(await ok(["device", "list", "--direct"]), /^later /m);
    assert.equal(await ok(["pool", "repair"]), "The metadata is sound.");
    assert.match(await ok(["pool", "list"]), /down +no +768 MiB/);
    assert.match(await refused(2, ["pool", "destroy"]), /with .*base/);
    await ok(["pool", "destroy", "--yes"]);
    await refused(3, ["pool", "check"]);
    assert.deepEqual(await json(["pool", "list"]), []);
  });
});
