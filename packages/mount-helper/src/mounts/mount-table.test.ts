import assert from "node:assert/strict";
import { test } from "node:test";
import { MOUNT_FLAGS, MOUNT_OPTIONS, idMapFor } from "./mount-table.ts";

test("nosuid and nodev always, and no option but these", () => {
  assert.deepEqual(MOUNT_FLAGS, { noSuid: true, noDev: true });
  assert.deepEqual(MOUNT_OPTIONS, { ext4: { errors: "remount-ro" }, xfs: { nouuid: true } });
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
