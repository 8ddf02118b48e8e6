/** How full something is, as a bar of text. */

const FULL = "█";
const EMPTY = "░";
const MARK = "┊";

/**
 * `width` characters: the used part, the free part, and a mark where the low-water mark lies (free
 * space below `lowWater` of `total`). Anything used at all shows as one character at least.
 */
export function bar(options: {
  readonly used: bigint;
  readonly total: bigint;
  readonly width: number;
  readonly lowWater?: bigint;
}): string {
  const { used, total, width, lowWater } = options;
  if (total === 0n || width < 1) return "";
  const cells = (part: bigint): number => Number((part * BigInt(width)) / total);
  const filled = Math.min(width, used > 0n ? Math.max(1, cells(used)) : 0);
  const text = FULL.repeat(filled) + EMPTY.repeat(width - filled);
  if (lowWater === undefined || lowWater <= 0n || lowWater >= total) return text;
  const at = Math.min(width - 1, cells(total - lowWater));
  return text.slice(0, at) + MARK + text.slice(at + 1);
}
