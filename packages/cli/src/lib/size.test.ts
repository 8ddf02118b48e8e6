import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "./errors.ts";
import { formatShare, formatSize, parseSize } from "./size.ts";

const GOOD: Readonly<Record<string, bigint>> = {
  "1B": 1n,
  "512B": 512n,
  "64K": 65_536n,
  "64KiB": 65_536n,
  "64kib": 65_536n,
  "64KB": 64_000n,
  "10G": 10n << 30n,
  "10 GiB": 10n << 30n,
  " 10GiB ": 10n << 30n,
  "1.5TiB": 3n << 39n,
  "0.5K": 512n,
  "2GB": 2_000_000_000n,
  "15.5EiB": 31n << 59n,
};

for (const [text, bytes] of Object.entries(GOOD)) {
  test(`${JSON.stringify(text)} is ${bytes} bytes`, () => assert.equal(parseSize(text), bytes));
}

const BAD = [
  ["", "10", "-1G", "+1G", "1e3B", "1_000B", "0x10B", "G", "1.G", ".5G", "1,5G", "10Gi", "10iB"],
  [
    "10X",
    "10GiBB",
    "1 0G",
    "0B",
    "0G",
    "0.3B",
    "1.0001K",
    "16EiB",
    "99999999999999999999EiB",
    "1G\0",
  ],
].flat();

for (const text of BAD) {
  test(`${JSON.stringify(text)} is refused as a mistake of use, with a hint`, () => {
    assert.throws(
      () => parseSize(text),
      (error) => error instanceof UsageError && error.hint.length > 0,
    );
  });
}

test("sizes are printed with one decimal at most, and in the unit that fits", () => {
  const cases: readonly (readonly [bigint, string])[] = [
    [0n, "0 B"],
    [1n, "1 B"],
    [1023n, "1023 B"],
    [1024n, "1 KiB"],
    [1536n, "1.5 KiB"],
    [10n << 30n, "10 GiB"],
    [(10n << 30n) + 1n, "10 GiB"],
    [(1n << 64n) - 1n, "16 EiB"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
});

test("what is printed of a whole number of units is read again as the same", () => {
  for (let power = 0n; power < 7n; power += 1n) {
    for (const count of [1n, 2n, 10n, 15n]) {
      const bytes = count << (10n * power);
      assert.equal(parseSize(formatSize(bytes)), bytes);
    }
  }
});

test("a share has one decimal, and none of nothing", () => {
  assert.equal(formatShare(1n, 8n), "12.5%");
  assert.equal(formatShare(0n, 8n), "0.0%");
  assert.equal(formatShare(8n, 8n), "100.0%");
  assert.equal(formatShare(0n, 0n), "-");
});
