/** The script of the docs, run as it is printed, on a real kernel. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { cliArguments } from "../e2e/cli-process.ts";
import { kernelState } from "./kernel-state.ts";

const SCRIPT = join(import.meta.dirname, "../../docs/examples/pool.sh");
const MAX_LINES = 40;
/** Some fifty starts of Node in an emulated kernel. */
const TIMEOUT_MS = 600_000;

test("a pool, an image from a folder, ten clones, and nothing left", async () => {
  const before = kernelState();
  const scratch = await mkdtemp("/tmp/cli-script-");
  try {
    // `thinpool` of the build, where an installed one would be.
    const words = [process.execPath, ...cliArguments([])].map((word) => `'${word}'`).join(" ");
    await writeFile(join(scratch, "thinpool"), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    const content = join(scratch, "content");
    await promisify(execFile)("mkdir", ["-p", join(content, "etc")]);
    await writeFile(join(content, "etc", "motd"), "hello\n");
    const { stdout } = await promisify(execFile)("sh", [SCRIPT, content], {
      env: {
        PATH: `${scratch}:${process.env["PATH"] ?? ""}`,
        TMPDIR: scratch,
        // A tenth of a second for each of these starts.
        NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
      },
      timeout: TIMEOUT_MS,
    });
    const lines = stdout.split("\n");
    assert.match(lines[0] ?? "", /^[0-9a-f-]{36}$/);
    assert.equal(lines[1], "base");
    assert.equal(lines.filter((line) => line === "number").length, 10, stdout);
    for (let n = 1; n <= 10; n += 1) {
      assert.match(stdout, new RegExp(`^[├└]─ job-${n} +64 MiB +0 +yes$`, "m"));
      assert.match(stdout, new RegExp(`^job-${n}: unmounted$`, "m"));
    }
    assert.match(stdout, /^devices: +11, 10 active$/m);
    assert.deepEqual((await readdir(scratch)).toSorted(), ["content", "thinpool"]);
    assert.deepEqual(kernelState(), before);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
});

test("it is short enough to be read", async () => {
  const { stdout } = await promisify(execFile)("wc", ["-l", SCRIPT]);
  assert.ok(Number.parseInt(stdout, 10) <= MAX_LINES, stdout);
});
