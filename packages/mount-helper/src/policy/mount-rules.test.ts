import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_MOUNT_RULES, ROOT_MOUNT_RULES } from "../mounts/rules.ts";
import { mountRulesBy } from "./mount-rules.ts";
import { EMPTY_RULE } from "./rights.ts";

const strict = { ...EMPTY_RULE, name: "strict", users: new Set([1000]), noExec: true };
const ci = {
  ...EMPTY_RULE,
  name: "ci",
  groups: new Set([200]),
  mountRoots: ["/srv/ci"],
  noExec: false,
  permanentMounts: true,
  otherNamespaces: true,
  blockDevices: true,
  lazyUnmountAfterMs: 5_000,
  limits: { holdMs: 60_000 },
};
const live = { current: { rules: [strict, ci] } };

test("the first rule that says something holds; roots add up; root is free", () => {
  const rules = mountRulesBy(live);
  assert.deepEqual(rules({ uid: 0 }), ROOT_MOUNT_RULES);
  assert.deepEqual(rules({ uid: 5 }), DEFAULT_MOUNT_RULES);
  const member = { uid: 1000, gid: 1, groups: [200] };
  assert.deepEqual(rules(member), {
    folderRoots: ["/srv/ci"],
    noExec: true,
    noSymFollow: false,
    lazyAfterMs: 5_000,
    maxLeaseMs: 60_000,
    otherNamespaces: true,
    blockDevices: true,
    permanent: true,
  });
});

test("in a user's absence the groups of his last call count, and none before it", () => {
  const rules = mountRulesBy(live);
  assert.deepEqual(rules({ uid: 1000 }).folderRoots, []);
  const member = { uid: 1000, gid: 200, groups: [] };
  assert.deepEqual(rules(member).folderRoots, ["/srv/ci"]);
  assert.deepEqual(rules({ uid: 1000 }).folderRoots, ["/srv/ci"]);
});
