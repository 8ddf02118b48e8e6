/** What the command line says of itself, of mistakes, and where no daemon answers. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createSimKernel } from "@thinpool/dm-sim";
import { commands } from "./index.ts";
import { codesWithExitCode } from "../lib/exit-codes.ts";
import { explanationOf } from "../lib/explain.ts";
import { ok, refused, run } from "../lib/in-process.test.support.ts";

const kernel = createSimKernel();

test("--help names every topic and command, and a topic its commands", async () => {
  const all = Object.entries(commands).flatMap(([id, { hidden }]) =>
    hidden ? [] : [id.split(":")],
  );
  const named = (text: string, path: string): boolean =>
    new RegExp(`^ +${path} +\\S`, "m").test(text);
  const help = await ok(kernel, ["--help"]);
  for (const [word = ""] of all) assert.ok(named(help, word), word);
  const topics = new Set(all.flatMap(([topic, verb]) => (verb === undefined ? [] : [topic])));
  for (const topic of topics) {
    const verbs = all.filter(([word, verb]) => word === topic && verb !== undefined);
    const text = await ok(kernel, [String(topic)]);
    for (const words of verbs) assert.ok(named(text, words.join(" ")), words.join(" "));
  }
});

for (const command of ["device clone", "top"]) {
  test(`${command} --help tells its usage`, async () => {
    const help = await ok(kernel, [...command.split(" "), "--help"]);
    assert.match(help, new RegExp(`\\$ thinpool ${command}`));
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
  ["pool", "create", "--folder", "", "--dry-run"],
  ["pool", "destroy", "--folder=", "--yes"],
  ["device", "show", "x", "--socket", ""],
  ["device", "list", "--socket", ""],
];
for (const args of mistakes) {
  test(`usage: ${args.join(" ")}`, async () => {
    const { exitCode, stdout, stderr } = await run(kernel, args);
    assert.match(stderr, /^Error: [^\n]+\.\nHint: [^\n]+\n$/);
    assert.deepEqual([exitCode, stdout], [2, ""]);
  });
}

const explained: readonly (readonly [args: string, said: RegExp])[] = [
  ["device lst --json-no", /there is no command "device lst"\./],
  ["pool create mine", /`thinpool pool create` takes no argument "mine"\./],
  ["--socket /x device list", /"--socket" comes before the command\./],
  ["-v", /"-v" comes before the command\./],
  ["umount", /missing argument: The device's name, or the reference that `mounts` shows\./],
  ["device clone", /missing arguments: The device to start from; Name of the new device\.\n/],
  [
    "pool create --data-device /dev/x --data-size 1GiB",
    /^Error: --data-size=\d+ cannot also be provided when using --data-device; All of /,
  ],
  ["logs --lines x", /^Error: --lines: Expected an integer but received: x\./],
  ["pool create --block-size 100KiB", /no multiple of 65536 bytes \(64 KiB\)/],
  ["pool create --data-size 64KiB --folder /dev/shm/never-made", /at least 4194304 bytes/],
];
for (const [line, said] of explained) {
  test(`usage, and what is wrong: ${line}`, async () => {
    const { exitCode, stderr } = await run(kernel, line.split(" "));
    assert.match(stderr, said);
    assert.equal(exitCode, 2);
  });
}

test("explain says what a code means, of those too that no daemon sends", async () => {
  for (const code of ["NO_SPACE", "POOL_LOCKED", "NATIVE_BUSY", "USAGE", "POLICY_INVALID"]) {
    const text = await ok(kernel, ["explain", code]);
    assert.match(
      text,
      new RegExp(`^code: +${code}\\n(.+\\n)*means: +[A-Z].+\\.\\n(.+\\n)*what to do: +[A-Z].+\\.$`),
    );
  }
  // Each that a command can end with: what `--json` prints is what `explain` takes.
  for (const code of codesWithExitCode) assert.ok(explanationOf(code).meaning.endsWith("."), code);
  const { exitCode, stderr } = await run(kernel, ["explain", "NOPE"]);
  assert.match(stderr, /no error code "NOPE".*\n.*POOL_LOCKED/);
  assert.equal(exitCode, 2);
});

test("-h is --help", async () => {
  assert.equal(await ok(kernel, ["-h"]), await ok(kernel, ["--help"]));
  assert.equal(await ok(kernel, ["mount", "-h"]), await ok(kernel, ["mount", "--help"]));
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
    const nowhere = ["--socket", "/nonexistent/thinpool.sock"];
    const expected = { exitCode: 7, code: "DAEMON_UNREACHABLE" };
    const said = await refused(kernel, [...args, ...nowhere], expected);
    assert.match(said, /\/nonexistent\/thinpool\.sock/);
  });
}

test("no colour where it is no terminal, and none of a name's own either", async () => {
  const { stderr } = await run(kernel, ["umount", "\u001b[31mred", "--socket", "/none"]);
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
  const expected = { exitCode: 7, code: "DAEMON_UNREACHABLE" };
  await refused(kernel, ["mounts", "--socket", socketPath], expected);
});
