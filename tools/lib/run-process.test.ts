import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

const PARENT = `
import { runProcess, Stopped } from ${JSON.stringify(new URL("run-process.ts", import.meta.url).href)};
const running = runProcess(process.execPath, ["-e", "console.log(process.pid); setTimeout(() => {}, 60000)"], { live: true });
try { await running; } catch (error) { process.exitCode = error instanceof Stopped ? error.exitCode : 1; }
`;

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("SIGTERM ends what was started first, and the exit code says so", async () => {
  const args = ["--input-type=module", "-e", PARENT];
  const parent = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  const [chunk] = (await once(parent.stderr, "data")) as [Buffer];
  const pid = Number(chunk.toString("utf8"));
  assert.ok(alive(pid));
  parent.kill("SIGTERM");
  const [code] = (await once(parent, "exit")) as [number];
  assert.equal(code, 143);
  assert.ok(!alive(pid));
});
