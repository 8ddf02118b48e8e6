import assert from "node:assert/strict";
import { test } from "node:test";
import { mountPointsOf } from "./holders.ts";
import { isInDmFolder, parseControlNumber } from "./nodes.ts";

const DEVICES = "Character devices:\n  1 mem\n 10 misc\n\nBlock devices:\n254 device-mapper\n";

test("the control node's number comes from /proc/misc and /proc/devices", () => {
  const misc = "232 kvm\n236 device-mapper\n";
  assert.deepEqual(parseControlNumber(misc, DEVICES), { major: 10, minor: 236 });
  assert.equal(parseControlNumber("232 kvm\n", DEVICES), undefined);
  assert.equal(parseControlNumber(misc, ""), undefined);
});

test("what lies right below /dev/mapper is told from all else", () => {
  assert.equal(isInDmFolder("/dev/mapper/vm-a\\x20b"), true);
  for (const path of ["/dev/mapper", "/dev/mapper/..", "/dev/mapper/../sda", "/dev/mapper/a/b"]) {
    assert.equal(isInDmFolder(path), false, path);
  }
  assert.equal(isInDmFolder("/mnt/dev/mapper/a"), false);
  assert.equal(isInDmFolder("dev/mapper/a"), false);
});

test("mounts of a device are found in mountinfo", () => {
  const mountinfo = [
    "36 35 254:3 / /mnt/a rw,noatime shared:1 - ext4 /dev/mapper/vm rw",
    "37 35 254:33 / /mnt/b rw - ext4 /dev/mapper/other rw",
    "",
  ].join("\n");
  assert.deepEqual(mountPointsOf(mountinfo, { major: 254, minor: 3 }), ["/mnt/a"]);
});
