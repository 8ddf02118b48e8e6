/** The lineage of devices, drawn: what was made from what. */
import type { Device } from "@thinpool/sdk";

/** Deeper lineages are drawn no further: a line that long helps nobody. */
export const MAX_TREE_DEPTH = 64;

export interface TreeLine {
  /** "├─ " and the like; empty for a root. */
  readonly prefix: string;
  readonly device: Device;
}

/**
 * A line for each device, below the one it was made from. One whose origin is gone, or not the
 * caller's to see, stands as a root. Siblings are in the order of their names.
 */
export function treeOf(devices: readonly Device[]): readonly TreeLine[] {
  const known = new Set(devices.map(({ uuid }) => uuid));
  const children = Map.groupBy(
    devices.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    ({ originUuid }) => (originUuid !== undefined && known.has(originUuid) ? originUuid : ""),
  );
  const lines: TreeLine[] = [];
  const draw = (parent: string, indent: string, depth: number): void => {
    if (depth > MAX_TREE_DEPTH) return;
    const row = children.get(parent) ?? [];
    for (const [at, device] of row.entries()) {
      const last = at === row.length - 1;
      const isRoot = parent === "";
      lines.push({ prefix: isRoot ? "" : `${indent}${last ? "└─ " : "├─ "}`, device });
      draw(device.uuid, isRoot ? "" : `${indent}${last ? "   " : "│  "}`, depth + 1);
    }
  };
  draw("", "", 0);
  return lines;
}
