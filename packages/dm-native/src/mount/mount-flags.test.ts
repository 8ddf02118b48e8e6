import assert from "node:assert/strict";
import { test } from "node:test";
import { legacyMountFlags, missingFlags, mountAttributes } from "./mount-flags.ts";

const ALL = { readOnly: true, noSuid: true, noDev: true, noExec: true, noSymFollow: true } as const;

test("the bits are those of linux/mount.h", () => {
  // MOUNT_ATTR_RDONLY 1, NOSUID 2, NODEV 4, NOEXEC 8, NOSYMFOLLOW 0x200000.
  assert.equal(mountAttributes(ALL), 0x20_000f);
  // MS_RDONLY 1, MS_NOSUID 2, MS_NODEV 4, MS_NOEXEC 8, MS_NOSYMFOLLOW 256.
  assert.equal(legacyMountFlags(ALL), 0x10f);
  assert.equal(mountAttributes({ noSuid: true, noDev: true }), 6);
  assert.equal(legacyMountFlags({ noSuid: true, noDev: true }), 6);
});

test("false and absent set nothing", () => {
  assert.equal(mountAttributes({ readOnly: false }), 0);
  assert.equal(legacyMountFlags({}), 0);
});

test("a flag that the mount does not show is told", () => {
  assert.deepEqual(missingFlags(ALL, ["ro", "nosuid", "nodev", "noexec", "nosymfollow"]), []);
  assert.deepEqual(missingFlags({ noSuid: true, noDev: true }, ["rw", "nodev"]), ["nosuid"]);
  assert.deepEqual(missingFlags({ noSuid: false }, ["rw"]), []);
});
