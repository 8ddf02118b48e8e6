/**
 * A table of the simulated device-mapper: targets parsed and bound to their devices when it is
 * loaded, let go when it is replaced. Errnos as in drivers/md/dm-table.c and each target's .ctr.
 */
import type { DmTarget } from "@thinpool/dm-native";
import { Refusal } from "../faults.ts";
import type { BlockNode } from "../machine.ts";
import type { DmDevice } from "./dm-device.ts";
import { makeTarget, type Target } from "./targets.ts";

const SECTOR_BYTES = 512;

export interface TableEntry {
  readonly startSectors: number;
  readonly lengthSectors: number;
  readonly target: Target;
}

/** What a target's constructor may use. */
export interface TargetContext {
  /** The device that the table is loaded into. */
  readonly owner: DmDevice;
  readonly startSectors: number;
  readonly lengthSectors: number;
  readonly readOnly: boolean;
  /** Opens a device by path or MAJOR:MINOR for the table's life. */
  open(device: string): BlockNode;
  /** To be done when the table goes. */
  onRelease(release: () => void): void;
}

export class Table {
  readonly entries: readonly TableEntry[];
  readonly readOnly: boolean;
  readonly #nodes = new Set<BlockNode>();
  readonly #releases: (() => void)[] = [];

  readonly #owner: DmDevice;

  private constructor(owner: DmDevice, lines: readonly DmTarget[], readOnly: boolean) {
    this.#owner = owner;
    this.readOnly = readOnly;
    const entries: TableEntry[] = [];
    this.entries = entries;
    try {
      let end = 0;
      if (lines.length === 0) throw new Refusal("EINVAL", "the table has no targets");
      for (const line of lines) {
        const startSectors = Number(line.startSectors);
        const lengthSectors = Number(line.lengthSectors);
        if (lengthSectors === 0) throw new Refusal("EINVAL", "a target has no length");
        if (startSectors !== end) throw new Refusal("EINVAL", "the table has a gap");
        end = startSectors + lengthSectors;
        const target = makeTarget(line.type, line.params, {
          owner,
          startSectors,
          lengthSectors,
          readOnly,
          open: (device) => this.#open(owner, device),
          onRelease: (release) => this.#releases.push(release),
        });
        if (target.singleton && lines.length > 1) {
          throw new Refusal("EINVAL", `${line.type} must be the only target of a table`);
        }
        entries.push({ startSectors, lengthSectors, target });
      }
    } catch (error) {
      this.release();
      throw error;
    }
  }

  static load(owner: DmDevice, lines: readonly DmTarget[], readOnly: boolean): Table {
    return new Table(owner, lines, readOnly);
  }

  get sizeBytes(): number {
    const last = this.entries.at(-1);
    return last === undefined ? 0 : (last.startSectors + last.lengthSectors) * SECTOR_BYTES;
  }

  get nodes(): readonly BlockNode[] {
    return [...this.#nodes];
  }

  at(sector: number): TableEntry | undefined {
    return this.entries.find(
      ({ startSectors, lengthSectors }) =>
        sector >= startSectors && sector < startSectors + lengthSectors,
    );
  }

  /** The parts of a range, each with its target and the offset within that. */
  *parts(
    offsetBytes: number,
    lengthBytes: number,
  ): Generator<{ target: Target; offsetBytes: number; lengthBytes: number; at: number }> {
    for (const { startSectors, lengthSectors, target } of this.entries) {
      const start = Math.max(offsetBytes, startSectors * SECTOR_BYTES);
      const end = Math.min(
        offsetBytes + lengthBytes,
        (startSectors + lengthSectors) * SECTOR_BYTES,
      );
      if (start >= end) continue;
      yield {
        target,
        offsetBytes: start - startSectors * SECTOR_BYTES,
        lengthBytes: end - start,
        at: start - offsetBytes,
      };
    }
  }

  release(): void {
    for (const release of this.#releases.splice(0).toReversed()) release();
    const nodes = [...this.#nodes];
    this.#nodes.clear();
    for (const node of nodes) this.#owner.letGo(node);
  }

  #open(owner: DmDevice, device: string): BlockNode {
    const node = owner.machine.tableDevice(device);
    if (node === owner) throw new Refusal("EINVAL", "a device can't stand on itself");
    if (!this.#nodes.has(node)) {
      owner.hold(node);
      this.#nodes.add(node);
    }
    return node;
  }
}
