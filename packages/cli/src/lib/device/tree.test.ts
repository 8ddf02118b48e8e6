import assert from "node:assert/strict";
import { test } from "node:test";
import type { Device } from "@thinpool/sdk";
import { MAX_TREE_DEPTH, treeOf } from "./tree.ts";

const device = (name: string, origin?: string): Device =>
  ({ name, uuid: `uuid-${name}`, originUuid: origin && `uuid-${origin}` }) as Device;
const drawn = (devices: readonly Device[]): string[] =>
  treeOf(devices).map(({ prefix, device: { name } }) => prefix + name);

test("children stand below their origin, in the order of their names", () => {
  const devices = [
    device("base"),
    device("b", "base"),
    device("a", "base"),
    device("deep", "a"),
    device("other"),
  ];
  assert.deepEqual(drawn(devices), ["base", "├─ a", "│  └─ deep", "└─ b", "other"]);
});

test("a device whose origin is not in the list is a root", () => {
  assert.deepEqual(drawn([device("orphan", "gone"), device("x", "orphan")]), ["orphan", "└─ x"]);
});

test("nothing gives nothing", () => {
  assert.deepEqual(drawn([]), []);
});

test("a lineage deeper than the limit is cut, not followed for ever", () => {
  const chain = Array.from({ length: MAX_TREE_DEPTH * 2 }, (_, at) =>
    device(`d${at}`, at === 0 ? undefined : `d${at - 1}`),
  );
  assert.equal(drawn(chain).length, MAX_TREE_DEPTH + 1);
});
