import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { commands } from "../../commands/index.ts";
import { entriesOf, usageOf } from "./entries.ts";
import { generatedFiles } from "./files.ts";

for (const [path, wanted] of generatedFiles()) {
  test(`${path.split("/").at(-1)} is current (pnpm --filter @thinpool/cli docs)`, () => {
    assert.equal(readFileSync(path, "utf8"), wanted);
  });
}

test("each command says in one line what it does, and so do its flags and arguments", () => {
  for (const { path, summary, flags, args } of entriesOf(commands)) {
    assert.match(summary, /^[A-Z].+\.$/, path.join(" "));
    for (const flag of flags) assert.match(flag.summary, /\.$/, `${path.join(" ")} ${flag.name}`);
    for (const arg of args) assert.match(arg.description, /\.$/, `${path.join(" ")} ${arg.name}`);
  }
});

test("usage names the arguments as the command does", () => {
  const umount = entriesOf(commands).find(({ path }) => path.join() === "umount");
  assert.ok(umount !== undefined);
  assert.equal(usageOf(umount), "thinpool umount DEVICE|REFERENCE [FLAGS]");
});

test("groff reads the man page without a warning", { skip: !existsSync("/usr/bin/groff") }, () => {
  for (const [path, page] of generatedFiles()) {
    if (!path.endsWith(".1")) continue;
    const args = ["-man", "-Tutf8", "-ww", "-z"];
    execFileSync("/usr/bin/groff", args, { input: page, stdio: ["pipe", "inherit", "pipe"] });
  }
});
