/**
 * An attacker as a process of its own: `mount-swapper.ts UID GID FOLDER VICTIM` gives up root's rights
 * and then changes, without end, what stands at FOLDER/way and FOLDER/way/target: real folders, and
 * symbolic links that lead to VICTIM. Says "ready" when it begins.
 */
import { mkdirSync, renameSync, rmdirSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";

const [uid = "", gid = "", folder = "", victim = ""] = process.argv.slice(2);
process.setgroups?.([]);
process.setgid?.(Number(gid));
process.setuid?.(Number(uid));

const way = join(folder, "way");
const aside = join(folder, "aside");
const link = join(folder, "link");
const target = join(way, "target");

const ROUNDS = 256;

/** A step may fail where a mount is in its way at this moment: the next ones go on. */
function attempt(step: () => void): void {
  try {
    step();
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

function swapAncestor(): void {
  attempt(() => renameSync(way, aside));
  attempt(() => renameSync(link, way));
  attempt(() => renameSync(way, link));
  attempt(() => renameSync(aside, way));
}

function swapTarget(): void {
  attempt(() => rmdirSync(target));
  attempt(() => symlinkSync(join(victim, "target"), target));
  attempt(() => unlinkSync(target));
  attempt(() => mkdirSync(target));
}

attempt(() => mkdirSync(way));
attempt(() => mkdirSync(target));
symlinkSync(victim, link);
process.stdout.write("ready\n");
// Ends with its pipe: whoever started it is gone then.
process.stdin.on("end", () => process.exit(0)).resume();
for (;;) {
  // In turns, so that one kind does not spoil the moments of the other.
  for (let round = 0; round < ROUNDS; round += 1) swapAncestor();
  for (let round = 0; round < ROUNDS; round += 1) swapTarget();
  await new Promise((resolve) => setImmediate(resolve));
}
