import assert from "node:assert/strict";
import { test } from "node:test";
import type { MethodName } from "@thinpool/protocol";
import { methodNames } from "@thinpool/protocol";
import type { Principal } from "./policy.ts";
import { assertPolicyComplete, judge, objectOf, policy } from "./policy.ts";

const ROOT: Principal = { uid: 0, gid: 0, pid: 1, groups: [] };
const OWNER: Principal = { uid: 1000, gid: 1000, pid: 2, groups: [] };
const OTHER: Principal = { uid: 1001, gid: 1001, pid: 3, groups: [] };
const OWNERS = new Map([
  ["image", 0],
  ["clone", 1000],
]);

const facts = {
  deviceOwner: (name: string) => OWNERS.get(name),
  referenceHolder: (id: string) => (id === "held" ? 1000 : undefined),
};

function verdict(principal: Principal, method: MethodName, object: string): string {
  const params = { name: object, origin: object, device: object, reference: object };
  const result = judge(principal, { id: 1, method, params }, facts);
  return result.allowed ? "yes" : result.code;
}

test("the whole table: [method, object] -> what root, the owner and another user get", () => {
  const no = "NOT_FOUND";
  const table: readonly (readonly [MethodName, string, string, string, string])[] = [
    ["pool.status", "", "yes", "yes", "yes"],
    ["device.list", "", "yes", "yes", "yes"],
    ["mount.list", "", "yes", "yes", "yes"],
    ["device.create", "new", "yes", "FORBIDDEN", "FORBIDDEN"],
    ["device.get", "image", "yes", "yes", "yes"],
    ["device.get", "clone", "yes", "yes", no],
    ["device.get", "none", no, no, no],
    ["device.clone", "image", "yes", "yes", "yes"],
    ["device.clone", "clone", "yes", "yes", no],
    ["device.clone", "none", no, no, no],
    ["device.remove", "image", "yes", "FORBIDDEN", "FORBIDDEN"],
    ["device.remove", "clone", "yes", "yes", no],
    ["device.remove", "none", no, no, no],
    ["mount.create", "image", "yes", "FORBIDDEN", "FORBIDDEN"],
    ["mount.create", "clone", "yes", "yes", no],
    ["mount.create", "none", no, no, no],
    ["mount.release", "held", "yes", "yes", "NOT_MOUNTED"],
    ["mount.release", "none", "NOT_MOUNTED", "NOT_MOUNTED", "NOT_MOUNTED"],
  ];
  for (const [method, object, root, owner, other] of table) {
    const got = [ROOT, OWNER, OTHER].map((principal) => verdict(principal, method, object));
    assert.deepEqual(got, [root, owner, other], `${method} ${object}`);
  }
  assert.deepEqual(new Set(table.map(([method]) => method)), new Set(methodNames));
});

test("a method without a rule stops the start", () => {
  assertPolicyComplete();
  const { "device.get": _left, ...rest } = policy;
  assert.throws(() => assertPolicyComplete(rest), /without a policy: device.get/);
});

test("what a call is about comes from its own parameter", () => {
  const params = { origin: "image", name: "new" };
  assert.equal(objectOf({ id: 1, method: "device.clone", params }), "image");
  assert.equal(objectOf({ id: 1, method: "device.list", params: {} }), "the pool");
});
