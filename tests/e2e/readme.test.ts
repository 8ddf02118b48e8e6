/** The SDK's README example, run as it is printed, against a daemon on the simulated kernel. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { createSimKernel } from "@thinpool/dm-sim";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import { createPool } from "@thinpool/thinpool";

const README = new URL("../../packages/sdk/README.md", import.meta.url);
const RUN_FLAGS = ["--conditions=source", "--input-type=module-typescript", "--eval"];

test("the example of packages/sdk/README.md does what it says", async (t) => {
  const blocks = Array.from((await readFile(README, "utf8")).matchAll(/```ts\n([\s\S]*?)```/g));
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
  const path = join(mountRoot, String(process.geteuid?.()), "my-clone");
  assert.equal(stdout, `my-clone: ${16n << 20n} bytes at ${path}\n`);
  assert.equal(await readFile(join(path, "hello.txt"), "utf8"), "only in this clone\n");
  await daemon.stop({ teardown: true });
  assert.deepEqual(await kernel.leftovers(), []);
});
