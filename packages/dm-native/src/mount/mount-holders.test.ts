import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { describeHolders, findHolders, HOLDER_LIMITS } from "./mount-holders.ts";

/** The looking may take its time here: a loaded machine's /proc is slow, and what is found counts. */
const LIMITS = { ...HOLDER_LIMITS, maxMilliseconds: 60_000 };
const folder = realpathSync(mkdtempSync(join(tmpdir(), "holders-")));
after(() => rmSync(folder, { recursive: true }));

test("a working directory and an open file are found, a neighbour's name is not mistaken", async (t) => {
  const mine = join(folder, "mine");
  mkdirSync(mine);
  mkdirSync(join(folder, "mine-too"));
  assert.deepEqual(await findHolders([mine], LIMITS), []);
  const child = spawn("/bin/cat", { cwd: mine, stdio: "pipe" });
  // Also where the test fails: a living child would keep this process waiting.
  t.after(() => child.kill());
  child.stdin.write(".");
  await once(child.stdout, "data");
  const file = await open(join(mine, "file"), "w");
  const neighbour = await open(join(folder, "mine-too", "file"), "w");
  const holders = await findHolders([mine], LIMITS);
  const byPid = new Map(holders.map(({ pid, by }) => [pid, by]));
  assert.deepEqual(
    byPid,
    new Map([
      [process.pid, "an open file"],
      [child.pid, "its working directory"],
    ]),
  );
  assert.match(describeHolders(holders), /process \d+ \(cat\) by its working directory/);
  assert.equal((await findHolders([mine], { ...LIMITS, maxHolders: 1 })).length, 1);
  assert.deepEqual(await findHolders([mine], { ...LIMITS, maxProcesses: 0 }), []);
  await file.close();
  await neighbour.close();
  child.stdin.end();
  await once(child, "close");
});
