import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { test } from "node:test";

// What every other kernel test takes for granted.

const suffix = `smoke-${process.pid}`;
const dmsetup = (...args: string[]): string =>
  execFileSync("dmsetup", args, { encoding: "utf8" }).trim();

test("the kernel has the targets that the kernel tests use", () => {
  const targets = dmsetup("targets");
  for (const target of ["thin-pool", "thin", "linear", "striped", "error", "flakey", "delay"])
    assert.match(targets, new RegExp(`^${target}\\s+v\\d`, "m"));
});

test("a device can be made, is there as a node, and can be removed", () => {
  const name = `thinpool-${suffix}`;
  dmsetup("create", name, "--table", "0 8 zero");
  try {
    assert.ok(statSync(`/dev/mapper/${name}`).isBlockDevice());
    assert.match(dmsetup("status", name), /^0 8 zero/);
  } finally {
    dmsetup("remove", name);
  }
  assert.doesNotMatch(dmsetup("ls"), new RegExp(suffix));
});

test("the repository can be read by another uid, and /tmp written", () => {
  const id = { uid: 1000, gid: 1000 };
  const read = "process.stdout.write(require('node:fs').readFileSync('package.json'))";
  const text = execFileSync(process.execPath, ["-e", read], { ...id, encoding: "utf8" });
  assert.match(text, /thinpool-workspace/);
  accessSync("/tmp", constants.W_OK);
});
