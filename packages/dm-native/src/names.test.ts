import assert from "node:assert/strict";
import { test } from "node:test";
import { dmName, dmNodePath, mangle, unmangle } from "./names.ts";

test("every byte survives mangling, as dmsetup writes it", () => {
  assert.equal(mangle("a b"), "a\\x20b");
  assert.equal(mangle("vg-lv_1.x:y=z@#+"), "vg-lv_1.x:y=z@#+");
  assert.equal(mangle("ü"), "\\xc3\\xbc");
  assert.equal(mangle("\\x20"), "\\x5cx20");
  for (const text of ["plain", "a b", "ü €", "\\x20", "a\\", "\\\\x41", "tab\t", "☃"]) {
    assert.equal(unmangle(mangle(text)), text);
  }
  assert.equal(unmangle("not mangled"), "not mangled");
  assert.equal(unmangle("\\xzz"), "\\xzz");
});

test("a node's path holds the mangled name", () => {
  assert.equal(dmNodePath(dmName("my disk")), "/dev/mapper/my\\x20disk");
});
