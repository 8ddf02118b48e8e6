import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { lockFile } from "./file-lock.ts";

const folder = mkdtempSync(join(tmpdir(), "file-lock-"));
after(() => rmSync(folder, { recursive: true }));

const HOLDER = `
  const { lockFile } = await import(process.argv[1]);
  lockFile(process.argv[2]);
  console.log("locked");
  setInterval(() => undefined, 1000);
`;

function spawnHolder(path: string): ReturnType<typeof spawn> {
  const module = new URL("./file-lock.ts", import.meta.url).href;
  const args = ["--conditions=source", "--input-type=module", "-e", HOLDER, module, path];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

test("the file is made with mode 0600 and holds the pid; released, it can be taken again", () => {
  const path = join(folder, "own");
  const lock = lockFile(path);
  assert.equal(readFileSync(path, "utf8"), `${process.pid}\n`);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.throws(() => lockFile(path), { code: "NATIVE_BUSY" });
  lock.release();
  lock.release();
  lockFile(path).release();
});

test("a second process is told the holder's pid, and SIGKILL frees the lock", async () => {
  const path = join(folder, "killed");
  const child = spawnHolder(path);
  assert.ok(child.stdout);
  await once(child.stdout, "data");
  assert.throws(() => lockFile(path), {
    code: "NATIVE_BUSY",
    reason: `process ${child.pid} holds it`,
  });
  child.kill("SIGKILL");
  await once(child, "close");
  lockFile(path).release();
});

test("child processes do not inherit the descriptor", () => {
  const path = join(folder, "inherited");
  using lock = lockFile(path);
  const { stdout } = spawnSync("/bin/ls", ["-l", "/proc/self/fd"], { encoding: "utf8" });
  assert.ok(stdout.length > 0);
  assert.ok(!stdout.includes(lock.path));
});

test("a symlink, a folder and a path in a missing folder are refused", () => {
  const link = join(folder, "link");
  symlinkSync(join(folder, "own"), link);
  assert.throws(() => lockFile(link), { code: "NATIVE_INVALID" });
  assert.throws(() => lockFile(folder), { name: "NativeError" });
  assert.throws(() => lockFile("/dev/null"), { code: "NATIVE_INVALID" });
  assert.throws(() => lockFile(join(folder, "none", "x")), { code: "NATIVE_NOT_FOUND" });
  assert.throws(() => lockFile("a\0b"), { code: "NATIVE_INVALID" });
});
