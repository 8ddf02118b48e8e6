import assert from "node:assert/strict";
import { test } from "node:test";
import { LabError } from "./lab-error.ts";
import { diskVariable, parseOptions, usage } from "./options.ts";

const parse = (...args: string[]) => parseOptions(args, "/cwd");

test("what stands after -- is the command, options of its own included", () => {
  const options = parse("--uid", "1000", "--", "ls", "--help", "--", "-x");
  assert.ok(options !== "help");
  assert.deepEqual(options.command, ["ls", "--help", "--", "-x"]);
  assert.equal(options.uid, 1000);
  assert.equal(options.kernel, "uml");
  assert.equal(options.timeoutSeconds, 600);
});

test("paths are taken from the caller's folder", () => {
  const options = parse("--scratch", "out", "--disk", "a=img/a:2G", "--disk", "b=/x:y");
  assert.ok(options !== "help");
  assert.equal(options.scratch, "/cwd/out");
  assert.deepEqual(options.disks, [
    { name: "a", file: "/cwd/img/a", size: 2 * 1024 ** 3 },
    { name: "b", file: "/x:y" },
  ]);
});

test("every option is in the help", () => {
  assert.equal(parse("--help"), "help");
  for (const name of ["cut-after", "cut-on", "udev", "env", "stdin", "verbose", "memory"])
    assert.match(usage, new RegExp(`--${name}\\b`));
});

for (const args of [
  ["ls"],
  ["--no-such-option"],
  ["--kernel", "plan9"],
  ["--host", "--kernel", "uml"],
  ["--timeout", "0"],
  ["--timeout", "1e3"],
  ["--uid", "-1"],
  ["--memory", "64"],
  ["--cut-on", ""],
  ["--disk", "A=/x"],
  ["--disk", "a"],
  ["--disk", "a=/x", "--disk", "a=/y"],
  ["--env", "1A=x"],
])
  test(`refused: ${args.join(" ")}`, () => {
    assert.throws(() => parse(...args), LabError);
  });

test("a disk's variable is a name that shells accept", () => {
  assert.equal(diskVariable("data-1"), "LAB_DISK_DATA_1");
});

test("disks whose variables would be one are refused: the command would write to the wrong one", () => {
  assert.throws(() => parse("--disk", "a-b=/x:1G", "--disk", "a_b=/y:1G"), LabError);
  const options = parse("--disk", "a-b=/x:1G", "--disk", "a-c=/y:1G");
  assert.ok(options !== "help");
  assert.equal(options.disks.length, 2);
});
