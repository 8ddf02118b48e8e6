/** The program itself, without a daemon: what it prints where, and its exit code. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PLAIN_FAILURE, thinpool } from "./cli-process.ts";

suite("thinpool without a daemon", { concurrency: 2 }, () => {
  test("--version prints name and version", async () => {
    const { exitCode, stdout, stderr } = await thinpool(["--version"]);
    assert.match(stdout, /^thinpool [0-9]+\.[0-9]+\.[0-9]+\n$/);
    assert.deepEqual([exitCode, stderr], [0, ""]);
  });

  test("--help is data: on stdout", async () => {
    const { exitCode, stdout, stderr } = await thinpool(["--help"]);
    assert.match(stdout, /^ +device +\S/m);
    assert.deepEqual([exitCode, stderr], [0, ""]);
  });

  test("a mistake: one line and a hint on stderr, and nothing on stdout", async () => {
    const { exitCode, stdout, stderr } = await thinpool(["device", "create"]);
    assert.match(stderr, PLAIN_FAILURE);
    assert.deepEqual([exitCode, stdout], [2, ""]);
  });

  test("a mistake, as JSON: one document on stdout and nothing on stderr", async () => {
    const { exitCode, stdout, stderr } = await thinpool(["device", "create", "--json"]);
    const { error } = JSON.parse(stdout) as { error: { code: string; exitCode: number } };
    assert.deepEqual([error.code, error.exitCode], ["USAGE", 2]);
    assert.deepEqual([exitCode, stderr], [2, ""]);
  });

  test("no daemon at the environment's socket", async () => {
    const env = { THINPOOL_SOCKET: "/nonexistent/thinpool.sock" };
    const { exitCode, stdout, stderr } = await thinpool(["device", "list"], { env });
    assert.match(stderr, PLAIN_FAILURE);
    assert.match(stderr, /\/nonexistent\/thinpool\.sock/);
    assert.deepEqual([exitCode, stdout], [7, ""]);
  });

  test("no daemon, with --verbose: the stack too", async () => {
    const { exitCode, stderr } = await thinpool(["mounts", "--socket", "/none", "--verbose"]);
    assert.match(stderr, /^Error: [^\n]+\nHint: [^\n]+\n.*\n {4}at /s);
    assert.equal(exitCode, 7);
  });
});
