/** Bytes in devices: a page of a tag each, written and read through the simulated block devices. */
import type { SimKernel } from "@thinpool/dm-sim";
import type { Device } from "@thinpool/thinpool";
import { expect } from "./finding.ts";
import { ANY, type Content, type ModelDevice, settled, versionsOf } from "./model.ts";
import type { Random } from "./random.ts";

const PAGE_BYTES = 4096;
/** The pool's blocks, 64 KiB: two pages of one block share its mapping. */
const BLOCK_BYTES = 65_536;
/** Past the first block, where a filesystem's superblock stands. */
const FIRST_BLOCK = 1;
const BLOCKS = 4;
const PAGES_PER_BLOCK = 2;
/** ext4: 0xef53 at byte 0x438. */
const EXT4_MAGIC_OFFSET_BYTES = 0x438;
const EXT4_MAGIC = 0xef53;

export function pageOffset(page: number): number {
  const block = FIRST_BLOCK + Math.floor(page / PAGES_PER_BLOCK);
  return block * BLOCK_BYTES + (page % PAGES_PER_BLOCK) * PAGE_BYTES;
}

/** The pages of each block. */
export const PAGES_BY_BLOCK: readonly (readonly number[])[] = Array.from(
  { length: BLOCKS },
  (_, block) => Array.from({ length: PAGES_PER_BLOCK }, (__, at) => block * PAGES_PER_BLOCK + at),
);

/** A disk that devices are made from, which is never written. */
export const GOLDEN: { readonly path: string; readonly sizeBytes: bigint } = {
  path: "/dev/golden",
  sizeBytes: 4n << 20n,
};
/** Every other page of it. */
export const GOLDEN_CONTENT: Content = new Map(
  Array.from({ length: BLOCKS }, (_, block) => {
    const tag = 1000 + block;
    return [block * PAGES_PER_BLOCK, { now: [tag], cut: [tag] }];
  }),
);

export async function makeGolden(kernel: SimKernel): Promise<void> {
  kernel.addBlockDevice(GOLDEN);
  for (const [page, { now }] of GOLDEN_CONTENT) {
    await kernel.write(GOLDEN.path, pageOffset(page), pageOf(now[0] ?? 0));
  }
  await kernel.flush(GOLDEN.path);
}

export function pickPage(random: Random): number {
  return random.below(BLOCKS * PAGES_PER_BLOCK);
}

export function pageOf(tag: number): Buffer {
  const page = Buffer.alloc(PAGE_BYTES);
  page.writeUInt32LE(tag, 0);
  page.writeUInt32LE(tag, PAGE_BYTES - 4);
  return page;
}

/** Reads all pages that the model knows; each must be one of its versions. Gives what they are now. */
export async function verifyContent(
  kernel: SimKernel,
  device: Device,
  model: ModelDevice,
  cut: boolean,
): Promise<Content> {
  let content = model.content;
  for (const page of model.content.keys()) {
    const bytes = await kernel.read(device.path, pageOffset(page), PAGE_BYTES);
    const tag = bytes.readUInt32LE(0);
    const { now, cut: afterCut } = versionsOf(content, page);
    const allowed = cut ? [...now, ...afterCut] : now;
    if (allowed.includes(ANY)) continue;
    expect(
      tag === bytes.readUInt32LE(PAGE_BYTES - 4),
      "lost",
      () => `${device.name}: page ${page} is half written`,
    );
    expect(
      allowed.includes(tag),
      "lost",
      () => `${device.name}: page ${page} reads ${tag}, may be ${allowed.join(" or ")}`,
    );
    content = settled(content, page, tag, cut);
  }
  if (model.filesystem === "ext4" && model.firstBlock !== undefined) {
    const magic = (await kernel.read(device.path, EXT4_MAGIC_OFFSET_BYTES, 2)).readUInt16LE(0);
    expect(magic === EXT4_MAGIC, "lost", () => `${device.name}: it has no filesystem`);
  }
  return content;
}
