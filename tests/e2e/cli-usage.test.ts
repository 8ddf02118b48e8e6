/** What the command line says without a daemon and without a kernel. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { PLAIN_FAILURE, thinpool } from "./cli-process.ts";

/** Made from the commands, and tested to be current. */
const REFERENCE = join(import.meta.dirname, "../../packages/cli/COMMANDS.md");

suite("thinpool without a daemon", { concurrency: 2 }, () => {
  test("--version prints name and version", async () => {
    const { exitCode, stdout, stderr } = await thinpool(["--version"]);
    assert.match(stdout, /^thinpool [0-9]+\.[0-9]+\.[0-9]+\n$/);
    assert.deepEqual([exitCode, stderr], [0, ""]);
  });

  test("--help names every topic and command, and a topic its commands", async () => {
    const reference = await readFile(REFERENCE, "utf8");
    const all = [...reference.matchAll(/^## thinpool ([a-z ]+)$/gm)].map(([, path = ""]) => path);
    const words = new Set(all.map((path) => path.split(" ")[0]));
    const topics = [...words].filter((word) => !all.includes(String(word)));
    assert.ok(topics.length > 0 && topics.length < words.size, "the reference is read");
    const named = (text: string, path = ""): boolean =>
      new RegExp(`^ +${path} +\\S`, "m").test(text);
    const { exitCode, stdout, stderr } = await thinpool(["--help"]);
    assert.deepEqual([exitCode, stderr], [0, ""]);
    for (const word of words) assert.ok(named(stdout, word), word);
    for (const topic of topics) {
      const help = await thinpool([String(topic)]);
      assert.deepEqual([help.exitCode, help.stderr], [0, ""]);
      const below = all.filter((path) => path.startsWith(`${topic} `));
      for (const path of below) assert.ok(named(help.stdout, path), path);
    }
  });

  for (const command of ["device clone", "top"]) {
    test(`${command} --help tells its usage`, async () => {
      const { exitCode, stdout, stderr } = await thinpool([...command.split(" "), "--help"]);
      assert.match(stdout, new RegExp(`thinpool ${command}`));
      assert.deepEqual([exitCode, stderr], [0, ""]);
    });
  }

  const mistakes: readonly (readonly string[])[] = [
    ["frobnicate"],
    ["device", "frobnicate"],
    ["device", "list", "--frobnicate"],
    ["device", "list", "surplus"],
    ["device", "create"],
    ["device", "create", "x", "--size", "10"],
    ["device", "create", "x", "--size", "ten"],
    ["device", "create", "x", "--filesystem", "ntfs"],
    ["device", "snapshot", "only-one"],
    ["top", "--interval", "0"],
    ["pool", "create", "--data-device", "/dev/null"],
    ["pool", "create", "--block-size", "1000B"],
  ];
  for (const args of mistakes) {
    test(`usage: ${args.join(" ")}`, async () => {
      const { exitCode, stdout, stderr } = await thinpool(args);
      assert.match(stderr, PLAIN_FAILURE);
      assert.deepEqual([exitCode, stdout], [2, ""]);
    });
  }

  test("usage, as JSON: one document on stdout and nothing on stderr", async () => {
    const { exitCode, stdout, stderr } = await thinpool(["device", "create", "--json"]);
    const { error } = JSON.parse(stdout) as { error: { code: string; exitCode: number } };
    assert.deepEqual([error.code, error.exitCode], ["USAGE", 2]);
    assert.deepEqual([exitCode, stderr], [2, ""]);
  });

  const daemonCommands = [
    ["pool", "status"],
    ["device", "create", "x"],
    ["device", "snapshot", "x", "y"],
    ["device", "list"],
    ["device", "remove", "x"],
    ["mount", "x"],
    ["mounts"],
    ["umount", "x"],
  ];
  for (const args of daemonCommands) {
    test(`no daemon: ${args.join(" ")}`, async () => {
      const env = { THINPOOL_SOCKET: "/nonexistent/thinpool.sock" };
      const { exitCode, stdout, stderr } = await thinpool(args, { env });
      assert.match(stderr, PLAIN_FAILURE);
      assert.match(stderr, /\/nonexistent\/thinpool\.sock/);
      assert.deepEqual([exitCode, stdout], [7, ""]);
    });
  }

  test("no daemon, with --verbose: the stack too", async () => {
    const { exitCode, stderr } = await thinpool(["mounts", "--socket", "/none", "--verbose"]);
    assert.match(stderr, /^Error: [^\n]+\nHint: [^\n]+\n.*\n {4}at /s);
    assert.equal(exitCode, 7);
  });

  test("no colour where it is no terminal, and none of a name's own either", async () => {
    const { stderr } = await thinpool(["umount", "\u001b[31mred", "--socket", "/none"]);
    assert.ok(!stderr.includes("\u001b"));
  });

  test("somebody else listens on the socket: not reachable, in one line", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "cli-usage-"));
    const server = createServer((socket) => socket.end("220 mail ready\r\n"));
    t.after(async () => {
      server.close();
      await rm(folder, { recursive: true });
    });
    const socketPath = join(folder, "mail.sock");
    await new Promise<void>((resolve) => {
      server.listen(socketPath, resolve);
    });
    const { exitCode, stderr } = await thinpool(["mounts", "--socket", socketPath]);
    assert.match(stderr, PLAIN_FAILURE);
    assert.equal(exitCode, 7);
  });
});
