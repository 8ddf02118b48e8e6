import assert from "node:assert/strict";
import { test } from "node:test";
import type { KnownRequest, MethodName } from "@thinpool/protocol";
import { methodNames } from "@thinpool/protocol";
import { defaultPolicy } from "./compile-policy.ts";
import type { JudgedDevice, PolicyFacts, Principal, Verdict } from "./policy.ts";
import { assertPolicyComplete, judge, objectOf, policy } from "./policy.ts";
import { EMPTY_RULE } from "./rights.ts";
import type { Policy } from "./rights.ts";

/** The group that may connect. */
const GROUP = 200;
const ROOT: Principal = { uid: 0, gid: 0, pid: 1, groups: [] };
const OWNER: Principal = { uid: 1000, gid: 1000, pid: 2, groups: [GROUP] };
const OTHER: Principal = { uid: 1001, gid: GROUP, pid: 3, groups: [] };
const OUTSIDER: Principal = { uid: 1002, gid: 1002, pid: 4, groups: [] };
const SECRET = "s".repeat(43);

const DEVICES: readonly JudgedDevice[] = [
  { name: "image", uuid: "i", ownerUid: 0, isPublic: true },
  { name: "draft", uuid: "d", ownerUid: 0, isPublic: false },
  { name: "clone", uuid: "c", ownerUid: 1000, isPublic: false },
];

function facts(current: Policy = defaultPolicy(GROUP)): PolicyFacts {
  return {
    policy: () => current,
    device: (name) => DEVICES.find((device) => device.name === name),
    referenceHolder: (id) => (id === "held" ? 1000 : undefined),
    token: ({ secret, deviceUuid, verb, uid }) =>
      secret === SECRET && deviceUuid === "c" && verb === "clone" && uid === 1001
        ? "t1"
        : undefined,
  };
}

function judged(
  principal: Principal,
  method: MethodName,
  object: string,
  more: { readonly token?: string; readonly policy?: Policy } = {},
): Verdict {
  const { token } = more;
  const snapshots = [{ origin: "image" }, { origin: object }];
  const params = {
    name: object,
    origin: object,
    device: object,
    reference: object,
    token,
    snapshots,
  };
  // Has all that any method's rule looks at.
  const request = { id: 1, method, params } as unknown as KnownRequest;
  return judge(principal, request, facts(more.policy));
}

function outcome(verdict: Verdict): string {
  return verdict.allowed ? "yes" : verdict.code;
}

test("the whole table without a file: what root, the owner, another of the group, an outsider get", () => {
  const no = "NOT_FOUND";
  const never = "FORBIDDEN";
  type Row = readonly [MethodName, string, string, string, string, string];
  const table: readonly Row[] = [
    ["pool.status", "", "yes", "yes", "yes", never],
    ["pool.usage", "", "yes", "yes", "yes", never],
    ["pool.forecast", "", "yes", "yes", "yes", never],
    ["pool.check", "", "yes", never, never, never],
    ["pool.backup", "", "yes", never, never, never],
    ["pool.backups", "", "yes", never, never, never],
    ["pool.extend", "", "yes", never, never, never],
    ["pool.spacePolicy", "", "yes", never, never, never],
    ["pool.setSpacePolicy", "", "yes", never, never, never],
    ["events.next", "", "yes", "yes", "yes", never],
    ["events.list", "", "yes", "yes", "yes", never],
    ["device.list", "", "yes", "yes", "yes", never],
    ["mount.list", "", "yes", "yes", "yes", never],
    ["session.resume", "", "yes", "yes", "yes", never],
    ["token.list", "", "yes", "yes", "yes", never],
    ["token.createConnect", "", "yes", never, never, never],
    ["token.listConnect", "", "yes", "yes", "yes", never],
    ["token.revoke", "", "yes", "yes", "yes", never],
    ["policy.whoami", "", "yes", "yes", "yes", "yes"],
    ["policy.test", "", "yes", never, never, never],
    ["device.create", "new", "yes", never, never, never],
    ["device.publish", "image", "yes", never, never, never],
    ["device.get", "image", "yes", "yes", "yes", no],
    ["device.get", "draft", "yes", no, no, no],
    ["device.get", "clone", "yes", "yes", no, no],
    ["device.get", "none", no, no, no, no],
    ["device.clone", "image", "yes", "yes", "yes", no],
    ["device.clone", "draft", "yes", no, no, no],
    ["device.clone", "clone", "yes", "yes", no, no],
    ["device.clone", "none", no, no, no, no],
    // With an origin, which this one has: who may clone that may fill the copy.
    ["device.import", "image", "yes", "yes", "yes", no],
    ["device.import", "draft", "yes", no, no, no],
    ["device.import", "clone", "yes", "yes", no, no],
    ["device.export", "image", "yes", "yes", "yes", no],
    ["device.export", "draft", "yes", no, no, no],
    ["device.export", "clone", "yes", "yes", no, no],
    ["device.remove", "image", "yes", never, never, no],
    ["device.remove", "clone", "yes", "yes", no, no],
    ["device.remove", "none", no, no, no, no],
    ["device.rename", "image", "yes", never, never, no],
    ["device.rename", "clone", "yes", "yes", no, no],
    ["device.update", "clone", "yes", "yes", no, no],
    ["device.resize", "clone", "yes", "yes", no, no],
    ["device.revert", "clone", "yes", "yes", no, no],
    ["device.activate", "image", "yes", never, never, no],
    ["device.activate", "clone", "yes", "yes", no, no],
    ["device.changedBlocks", "image", "yes", "yes", "yes", no],
    ["device.changedBlocks", "clone", "yes", "yes", no, no],
    ["device.trim", "image", "yes", never, never, no],
    ["device.trim", "clone", "yes", "yes", no, no],
    // Of two origins: one that all may clone, and this one.
    ["device.snapshotMany", "image", "yes", "yes", "yes", no],
    ["device.snapshotMany", "clone", "yes", "yes", no, no],
    ["device.snapshotMany", "none", no, no, no, no],
    ["mount.create", "image", "yes", never, never, no],
    ["mount.create", "clone", "yes", "yes", no, no],
    ["mount.create", "none", no, no, no, no],
    ["token.create", "image", "yes", never, never, no],
    ["token.create", "clone", "yes", "yes", no, no],
    ["mount.renew", "held", "yes", "yes", "NOT_MOUNTED", "NOT_MOUNTED"],
    ["mount.renew", "none", "NOT_MOUNTED", "NOT_MOUNTED", "NOT_MOUNTED", "NOT_MOUNTED"],
    ["mount.release", "held", "yes", "yes", "NOT_MOUNTED", "NOT_MOUNTED"],
    ["mount.release", "none", "NOT_MOUNTED", "NOT_MOUNTED", "NOT_MOUNTED", "NOT_MOUNTED"],
  ];
  for (const [method, object, ...expected] of table) {
    const got = [ROOT, OWNER, OTHER, OUTSIDER].map((who) => outcome(judged(who, method, object)));
    assert.deepEqual(got, expected, `${method} ${object}`);
  }
  assert.deepEqual(new Set(table.map(([method]) => method)), new Set(methodNames));
});

test("the verdict names the rule that decided", () => {
  assert.equal(judged(ROOT, "device.create", "x").rule, "root");
  assert.equal(judged(OWNER, "device.clone", "image").rule, "default");
  assert.equal(judged(OTHER, "device.remove", "clone").rule, "no rule");
  assert.equal(judged(OWNER, "mount.release", "held").rule, "holder");
  const ops = { ...EMPTY_RULE, name: "ops", users: new Set([1002]), admin: true, create: true };
  const file = { rules: [...defaultPolicy(GROUP).rules, ops] };
  assert.equal(judged(OUTSIDER, "device.create", "x", { policy: file }).rule, "ops");
  assert.equal(judged(OUTSIDER, "policy.test", "x", { policy: file }).rule, "ops");
});

test("a token opens its one device, for its one verb, to its one user", () => {
  const token = SECRET;
  assert.equal(judged(OTHER, "device.clone", "clone", { token }).rule, "token t1");
  const refused: readonly (readonly [Principal, MethodName, string, string])[] = [
    [OTHER, "device.clone", "draft", token],
    [OTHER, "device.clone", "clone", "x".repeat(43)],
    [OUTSIDER, "device.clone", "clone", token],
    [OTHER, "device.remove", "clone", token],
    [OTHER, "device.get", "clone", token],
    [OTHER, "mount.create", "clone", token],
  ];
  for (const [who, method, object, secret] of refused) {
    assert.equal(outcome(judged(who, method, object, { token: secret })), "NOT_FOUND", method);
  }
});

test("a method without a rule stops the start", () => {
  assertPolicyComplete();
  const { "device.get": _left, ...rest } = policy;
  assert.throws(() => assertPolicyComplete(rest), /without a policy: device.get/);
});

test("an import without an origin makes an empty device: that right, and no other", () => {
  const request = { id: 1, method: "device.import", params: { name: "image" } } as const;
  const outcomes = [ROOT, OWNER].map((who) => outcome(judge(who, request, facts())));
  assert.deepEqual(outcomes, ["yes", "FORBIDDEN"]);
  const maker = { ...EMPTY_RULE, name: "makers", users: new Set([1000]), create: true };
  const verdict = judge(OWNER, request, facts({ rules: [maker] }));
  assert.equal(verdict.rule, "makers");
});

test("what a call is about comes from its own parameter", () => {
  const params = { origin: "image", name: "new" };
  assert.equal(objectOf({ id: 1, method: "device.clone", params }), "image");
  assert.equal(objectOf({ id: 1, method: "device.list", params: {} }), "the pool");
});
