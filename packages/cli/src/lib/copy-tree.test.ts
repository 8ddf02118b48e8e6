/** The real tar on real files; what takes root is looked at in the lab (tests/lab/cli-commands.test.ts). */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
} from "node:fs/promises";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { copyTree, measureTree } from "./copy-tree.ts";

let parent = "";

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "thinpool-copy-"));
});
after(() => rm(parent, { recursive: true }));

async function folders(name: string): Promise<{ readonly from: string; readonly to: string }> {
  const [from, to] = [join(parent, name, "from"), join(parent, name, "to")];
  for (const path of [from, to]) await mkdir(path, { recursive: true });
  return { from, to };
}

test("modes, links, times and holes come along", async () => {
  const { from, to } = await folders("whole");
  await chmod(from, 0o750);
  await mkdir(join(from, "-sub"), { mode: 0o700 });
  await writeFile(join(from, "-sub", "a\nb"), "content", { mode: 0o640 });
  await link(join(from, "-sub", "a\nb"), join(from, "second"));
  await symlink("/etc/passwd", join(from, "link"));
  await writeFile(join(from, "sparse"), "");
  await truncate(join(from, "sparse"), 64 << 20);
  let bytes = 0;
  const copied = await copyTree({ from, to, onBytes: (count) => (bytes += count) });
  assert.deepEqual(copied, { specialFilesLeftOut: 0, setIdsTaken: 0 });
  assert.ok(bytes > 0 && bytes < 1 << 20, `${bytes} bytes went through the pipe`);
  const file = await lstat(join(to, "-sub", "a\nb"));
  assert.deepEqual([file.mode & 0o7777, file.nlink], [0o640, 2]);
  assert.equal(file.mtimeMs, (await lstat(join(from, "second"))).mtimeMs);
  assert.equal(await readFile(join(to, "second"), "utf8"), "content");
  assert.equal(await readlink(join(to, "link")), "/etc/passwd");
  assert.equal((await lstat(to)).mode & 0o7777, 0o750);
  const sparse = await lstat(join(to, "sparse"));
  assert.ok(sparse.size === 64 << 20 && sparse.blocks < 1000, `${sparse.blocks} blocks`);
});

test("pipes and setuid programs don't", async () => {
  const { from, to } = await folders("tame");
  execFileSync("/usr/bin/mkfifo", [join(from, "pipe")]);
  await writeFile(join(from, "program"), "");
  await chmod(join(from, "program"), 0o6755);
  assert.deepEqual(await copyTree({ from, to }), { specialFilesLeftOut: 1, setIdsTaken: 1 });
  assert.equal((await lstat(join(to, "program"))).mode & 0o7777, 0o755);
  await assert.rejects(lstat(join(to, "pipe")), { code: "ENOENT" });
});

test("what can't be copied whole is a failure that says what tar said", async () => {
  const { to } = await folders("failing");
  const from = join(parent, "nowhere");
  await assert.rejects(copyTree({ from, to }), { code: "COPY_FAILED", reason: /nowhere/ });
});

test("a signal ends it", async () => {
  const { from, to } = await folders("cancelled");
  await writeFile(join(from, "large"), Buffer.alloc(8 << 20, 1));
  const controller = new AbortController();
  const onBytes = (): void => controller.abort();
  await assert.rejects(copyTree({ from, to, signal: controller.signal, onBytes }), {
    name: "AbortError",
  });
});

test("a tree is measured without its holes", async () => {
  const { from } = await folders("measured");
  await writeFile(join(from, "sparse"), "");
  await truncate(join(from, "sparse"), 1 << 30);
  await writeFile(join(from, "full"), Buffer.alloc(100_000, 1));
  assert.deepEqual(await measureTree(from), { bytes: 100_000n, files: 2 });
});
