/** The READMEs' examples, run as they are printed, against a daemon on the simulated kernel. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { createSimKernel } from "@thinpool/dm-sim";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import { createPool } from "@thinpool/thinpool";

const ROOT = new URL("../../", import.meta.url);
/** Each has one block of TypeScript: what it prints, and what is in the clone's new file. */
const READMES = [
  {
    path: "README.md",
    file: "result.txt",
    text: "mine alone",
    prints: /^(?<at>\S+) is mine; the pool holds \d+ bytes\n$/,
  },
  {
    path: "packages/sdk/README.md",
    file: "hello.txt",
    text: "only in this clone\n",
    prints: /^my-clone: 16777216 bytes at (?<at>\S+)\n$/,
  },
] as const;
const RUN_FLAGS = ["--conditions=source", "--input-type=module-typescript", "--eval"];

for (const readme of READMES) {
  test(`the example of ${readme.path} does what it says`, async (t) => {
    const text = await readFile(new URL(readme.path, ROOT), "utf8");
    const blocks = Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g));
    assert.equal(blocks.length, 1);
    const example = blocks[0]?.[1] ?? "";
    assert.ok(example.trimEnd().split("\n").length <= 10);
    const parent = await mkdtemp(join(tmpdir(), "thinpool-readme-"));
    t.after(() => rm(parent, { recursive: true, force: true }));
    const kernel = createSimKernel();
    const folder = join(parent, "pool");
    const backing = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
    const pool = await createPool({ folder, kernel, backing });
    await pool.createDevice({ name: "base", sizeBytes: 16n << 20n });
    await pool.detach();
    const socketPath = join(parent, "s");
    const mountRoot = join(parent, "mounts");
    const logger = jsonLogger(() => undefined);
    const daemon = await startDaemon({
      folder,
      socketPath,
      kernel,
      mountRoot,
      logger,
      workers: "in-process",
    });
    const { stdout } = await promisify(execFile)(process.execPath, [...RUN_FLAGS, example], {
      cwd: new URL("..", import.meta.url).pathname,
      env: { ...process.env, THINPOOL_SOCKET: socketPath },
      timeout: 60_000,
    });
    const path = readme.prints.exec(stdout)?.groups?.["at"] ?? assert.fail(stdout);
    assert.equal(dirname(path), join(mountRoot, String(process.geteuid?.())));
    assert.equal(await readFile(join(path, readme.file), "utf8"), readme.text);
    await daemon.stop({ teardown: true });
    assert.deepEqual(await kernel.leftovers(), []);
  });
}
