import assert from "node:assert/strict";
import { test } from "node:test";
import { checkMountOptions, legacyMountData, MAX_OPTIONS } from "./mount-options.ts";

test("plain options pass and are joined for mount(2)", () => {
  const options = { errors: "remount-ro", nouuid: true } as const;
  checkMountOptions(options);
  assert.equal(legacyMountData(options), "errors=remount-ro,nouuid");
  assert.equal(legacyMountData({}), "");
});

test("whatever could become another option is refused", () => {
  for (const options of [
    { errors: "continue,suid" },
    { errors: "a\nb" },
    { errors: "a\0b" },
    { errors: "a\tb" },
    { errors: "" },
    { errors: "x".repeat(256) },
    { "nouuid,suid": true },
    { "a=b": "c" },
    { "": true },
    { source: "/dev/sda" },
    { ro: true },
    Object.fromEntries(Array.from({ length: MAX_OPTIONS + 1 }, (_, n) => [`o${n}`, true])),
  ] as Record<string, string | true>[]) {
    assert.throws(
      () => checkMountOptions(options),
      { code: "NATIVE_INVALID" },
      JSON.stringify(options),
    );
  }
});
