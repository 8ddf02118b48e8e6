import assert from "node:assert/strict";
import { test } from "node:test";
import type { MountForm } from "../references/record.ts";
import { idMapFor, mountFlags, mountOptions } from "./mount-table.ts";

const PLAIN: MountForm = {
  readOnly: false,
  noExec: false,
  noSymFollow: false,
  ownership: "mapped",
};

test("nosuid and nodev always; the others as the form says", () => {
  assert.deepEqual(mountFlags(PLAIN), { noSuid: true, noDev: true });
  assert.deepEqual(mountFlags({ ...PLAIN, readOnly: true, noExec: true, noSymFollow: true }), {
    noSuid: true,
    noDev: true,
    readOnly: true,
    noExec: true,
    noSymFollow: true,
  });
});

test("the options of each filesystem, and no journal replay where it is read-only", () => {
  assert.deepEqual(mountOptions("ext4", PLAIN), { errors: "remount-ro" });
  assert.deepEqual(mountOptions("xfs", PLAIN), { nouuid: true });
  const readOnly = { ...PLAIN, readOnly: true };
  assert.deepEqual(mountOptions("ext4", readOnly), { errors: "remount-ro", noload: true });
  assert.deepEqual(mountOptions("xfs", readOnly), { nouuid: true, norecovery: true });
});

test("the disk's root is the mount's owner; root's own devices are not mapped", () => {
  assert.deepEqual(idMapFor({ uid: 1000, gid: 100 }), {
    insideUid: 0,
    outsideUid: 1000,
    insideGid: 0,
    outsideGid: 100,
  });
  assert.equal(idMapFor({ uid: 0, gid: 0 }), undefined);
});
