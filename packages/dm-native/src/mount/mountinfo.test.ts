import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMountInfo, parseMountInfoLine, topmostAt } from "./mountinfo.ts";

test("the example of proc_pid_mountinfo(5)", () => {
  const line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
  assert.deepEqual(parseMountInfoLine(line), {
    mountId: 36,
    parentId: 35,
    dev: { major: 98, minor: 0 },
    root: "/mnt1",
    mountPoint: "/mnt2",
    options: ["rw", "noatime"],
    optionalFields: ["master:1"],
    type: "ext3",
    source: "/dev/root",
    superOptions: ["rw", "errors=continue"],
  });
});

test("no optional field, and several", () => {
  assert.deepEqual(parseMountInfoLine("1 0 0:1 / / rw - rootfs rootfs rw").optionalFields, []);
  assert.deepEqual(
    parseMountInfoLine("1 0 0:1 / / rw shared:2 master:1 propagate_from:3 - a b rw").optionalFields,
    ["shared:2", "master:1", "propagate_from:3"],
  );
});

test("octal escapes of space, tab, newline, backslash", () => {
  const mount = parseMountInfoLine(
    "1 0 0:1 / /a\\040b\\011c\\012d\\134040 rw - hostfs none\\040x rw,/\\040",
  );
  assert.equal(mount.mountPoint, "/a b\tc\nd\\040");
  assert.equal(mount.source, "none x");
});

test("a hyphen as the mount's root or an empty source does not confuse it", () => {
  assert.equal(parseMountInfoLine("1 0 0:1 / /- rw - tmpfs - rw").source, "-");
  assert.equal(parseMountInfoLine("1 0 0:1 / /x rw - tmpfs  rw").source, "");
});

test("broken lines are refused with what was expected", () => {
  for (const line of [
    "",
    "36 35 98:0 / /mnt rw ext3 /dev/root rw",
    "36 35 98:0 / /mnt rw - ext3",
    "x 35 98:0 / /mnt rw - ext3 a rw",
    "36 35 98 / /mnt rw - ext3 a rw",
  ]) {
    assert.throws(() => parseMountInfoLine(line), { code: "NATIVE_PARSE" }, line);
  }
});

test("of stacked mounts the topmost is found, whatever the order", () => {
  const mounts = parseMountInfo(
    "9 5 0:3 / /m rw - t c rw\n5 4 0:2 / /m rw - t b rw\n4 1 0:1 / /m rw - t a rw\n1 0 0:9 / / rw - t r rw\n",
  );
  assert.equal(topmostAt(mounts, "/m")?.mountId, 9);
  assert.equal(topmostAt(mounts, "/")?.mountId, 1);
  assert.equal(topmostAt(mounts, "/other"), undefined);
});
