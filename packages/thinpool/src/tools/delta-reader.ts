/** What thin_delta prints: ranges of blocks by how two devices map them. */
import type { BlockDifference } from "./metadata-tools.ts";
import { numberOf, readTags } from "./xml-tags.ts";

const KINDS: Readonly<Record<string, BlockDifference["kind"] | undefined>> = {
  different: "changed",
  left_only: "removed",
  right_only: "added",
};

/** SyntaxError where it is no output of thin_delta, or one that was cut. Blocks that are the same are left out. */
export async function* readDelta(
  chunks: AsyncIterable<Buffer | string>,
): AsyncGenerator<BlockDifference> {
  let whole = false;
  for await (const tag of readTags(chunks)) {
    if (tag.name === "superblock" && tag.kind === "close") whole = true;
    const kind = KINDS[tag.name];
    if (kind === undefined || tag.kind === "close") continue;
    yield { kind, beginBlock: numberOf(tag, "begin"), lengthBlocks: numberOf(tag, "length") };
  }
  if (!whole) throw new SyntaxError("it has no whole <superblock>");
}
