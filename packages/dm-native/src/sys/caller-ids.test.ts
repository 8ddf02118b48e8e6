/** As root: what a thread's ids are is what /proc says of it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { withCallerIds } from "./caller-ids.ts";

/** The file-system uid and gid, and the groups, of this thread. */
function present(): readonly [uid: number, gid: number, groups: string] {
  const status = readFileSync("/proc/thread-self/status", "utf8");
  const field = (name: string): string =>
    new RegExp(`^${name}:\\t(.*)$`, "m").exec(status)?.[1] ?? "";
  const last = (name: string): number => Number(field(name).split("\t")[3]);
  return [last("Uid"), last("Gid"), field("Groups").trim()];
}

for (const [uid, gid] of [
  [1000, 1001],
  // Beyond what an int holds: uids of directory services and of containers.
  [2 ** 31, 2 ** 31 + 1],
  [2 ** 32 - 3, 2 ** 32 - 2],
] as const)
  test(`as uid ${uid}, and oneself again afterwards`, { skip: process.getuid?.() !== 0 }, () => {
    const before = present();
    const ids = { uid, gid, groups: [7, 4_000_000_000] };
    assert.deepEqual(withCallerIds(ids, present), [uid, gid, "7 4000000000"]);
    assert.deepEqual(present(), before);
    assert.throws(() =>
      withCallerIds(ids, () => {
        throw new Error("of the work's own");
      }),
    );
    assert.deepEqual(present(), before);
  });
