/** mkfs by the machine's own program, on a file. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { LinuxFilesystems } from "./filesystems.ts";

let parent: string;

before(async () => {
  parent = await mkdtemp(join(tmpdir(), "thinpool-mkfs-"));
});

after(() => rm(parent, { recursive: true }));

/** Of this process: those that run, and those that ended and were not waited for. */
function children(): readonly string[] {
  return readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean);
}

const programs = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"];
const skip = programs.some(existsSync) ? false : "no mkfs.ext4";

test(
  "an aborted mkfs has ended when that is told: it has the device open until then",
  { skip },
  async () => {
    const path = join(parent, "disk");
    await writeFile(path, "");
    await truncate(path, 2 ** 40);
    for (let turns = 0; turns < 20; turns += 1) {
      const ending = new AbortController();
      const made = new LinuxFilesystems().make({ path, type: "ext4", signal: ending.signal });
      const told = made.then(
        () => "made",
        () => children().length,
      );
      // The first child only tells its version.
      while (!children().some(isMaking)) await setImmediate();
      ending.abort();
      const left = await told;
      if (left === "made") continue;
      assert.equal(left, 0);
      return;
    }
    assert.fail("mkfs was never ended before it was done");
  },
);

function isMaking(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(parent);
  } catch {
    // It has ended.
    return false;
  }
}
