import assert from "node:assert/strict";
import { test } from "node:test";
import { findSignature, HEAD_BYTES, TAIL_BYTES } from "./signatures.ts";

const SIZE = 16 * 1024 * 1024;

/** Writes the pieces into an empty device and asks what it carries. */
function typeOf(
  pieces: readonly (readonly [number, Buffer | string])[],
  size: number = SIZE,
): string | undefined {
  const disk = Buffer.alloc(size);
  for (const [offset, bytes] of pieces) {
    (typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes).copy(disk, offset);
  }
  return findSignature({
    sizeBytes: size,
    head: disk.subarray(0, HEAD_BYTES),
    tail: disk.subarray(Math.max(0, size - TAIL_BYTES)),
  })?.type;
}

function le(value: number | bigint, length: 2 | 4 | 8): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes.subarray(0, length);
}

const BOOT = [510, Buffer.from([0x55, 0xaa])] as const;

test("an empty device, a tiny one and one of no bytes carry nothing", () => {
  assert.equal(typeOf([]), undefined);
  assert.equal(typeOf([], 512), undefined);
  assert.equal(typeOf([], 0), undefined);
});

const CASES: readonly (readonly [string, readonly (readonly [number, Buffer | string])[]])[] = [
  ["thin-pool metadata", [[32, le(27_022_010, 8)]]],
  ["dm-cache metadata", [[32, le(0o6142003, 8)]]],
  ["crypto_LUKS", [[0, "LUKS\xba\xbe"]]],
  [
    "LVM2_member",
    [
      [512, "LABELONE"],
      [536, "LVM2 001"],
    ],
  ],
  [
    "LVM2_member",
    [
      [0, "LABELONE"],
      [24, "LVM2 001"],
    ],
  ],
  ["stratis", [[516, "!Stra0tis\x86\xff\x02^\x41rh"]]],
  ["bcache", [[4120, Buffer.from("c68573f64e1a45ca8265f57f48ba6d81", "hex")]]],
  ["linux_raid_member", [[4096, le(0xa92b4efc, 4)]]],
  ["linux_raid_member", [[0, le(0xa92b4efc, 4)]]],
  ["linux_raid_member", [[SIZE - 65_536, le(0xa92b4efc, 4)]]],
  ["linux_raid_member", [[SIZE - 8192, le(0xa92b4efc, 4)]]],
  ["btrfs", [[65_600, "_BHRfS_M"]]],
  ["xfs", [[0, "XFSB"]]],
  ["f2fs", [[1024, le(0xf2f52010, 4)]]],
  ["squashfs", [[0, "hsqs"]]],
  ["iso9660", [[32_769, "CD001"]]],
  ["swap", [[4086, "SWAPSPACE2"]]],
  ["swap", [[65_526, "SWAPSPACE2"]]],
  ["vfat", [[82, "FAT32   "], BOOT]],
  ["gpt", [[512, "EFI PART"], [450, Buffer.from([0xee])], [458, le(99, 4)], BOOT]],
  ["gpt", [[SIZE - 512, "EFI PART"]]],
  ["zfs_member", [[128 * 1024 + 3072, le(0x00bab10c, 8)]]],
  ["zfs_member", [[128 * 1024, Buffer.from("0000000000bab10c", "hex")]]],
  ["dos", [BOOT, [446 + 16 + 4, Buffer.from([0x83])], [446 + 16 + 12, le(2048, 4)]]],
  ["ext2", [[1080, le(0xef53, 2)]]],
  [
    "ext3",
    [
      [1080, le(0xef53, 2)],
      [1116, le(0x4, 4)],
    ],
  ],
  [
    "ext4",
    [
      [1080, le(0xef53, 2)],
      [1116, le(0x4, 4)],
      [1120, le(0x2c2, 4)],
    ],
  ],
];
for (const [type, pieces] of CASES) {
  test(`${type} at ${pieces[0]?.[0]}`, () => assert.equal(typeOf(pieces), type));
}

test("half a signature is none", () => {
  assert.equal(typeOf([[512, "LABELONE"]]), undefined);
  assert.equal(typeOf([[82, "FAT32   "]]), undefined);
  assert.equal(typeOf([BOOT]), undefined, "a boot sector without a partition");
  assert.equal(
    typeOf([
      [32, le(27_022_010, 4)],
      [36, le(1, 4)],
    ]),
    undefined,
  );
});

test("the offset is told", () => {
  const disk = Buffer.alloc(4096);
  disk.write("XFSB");
  assert.deepEqual(findSignature({ sizeBytes: 4096, head: disk, tail: disk }), {
    type: "xfs",
    offsetBytes: 0n,
  });
});
