/**
 * The block devices of the simulated machine by path and number, who has them open, and the disks
 * that outlive a power cut.
 */
import { type DevNumber, formatDevNumber } from "@thinpool/dm-native";
import { Disk } from "./disk.ts";
import { Refusal } from "./faults.ts";
import type { ThinMetadata } from "./thin-metadata.ts";

/** What can be done with a block device's bytes; offsets and lengths in bytes, within its size. */
export interface BlockIo {
  sizeBytes(): number;
  read(offsetBytes: number, lengthBytes: number): Buffer;
  write(offsetBytes: number, bytes: Uint8Array): void;
  /** Unmaps or zeroes. */
  discard(offsetBytes: number, lengthBytes: number): void;
  flush(): void;
}

/** Who may claim a device for itself: dm tables share one claim, a mounted filesystem has its own. */
export type Claim = "device-mapper" | "filesystem";

export interface Place {
  readonly disk: Disk;
  readonly offsetBytes: number;
}

export abstract class BlockNode implements BlockIo {
  abstract readonly dev: DevNumber;
  #openCount = 0;
  #claim: Claim | undefined;
  #claims = 0;

  /** The first is its usual one. */
  abstract paths(): readonly string[];
  abstract sizeBytes(): number;
  abstract readOnly(): boolean;
  abstract read(offsetBytes: number, lengthBytes: number): Buffer;
  abstract write(offsetBytes: number, bytes: Uint8Array): void;
  abstract discard(offsetBytes: number, lengthBytes: number): void;
  abstract flush(): void;
  /** Where it begins on the disk that ends the chain, for metadata that stands beside the bytes. */
  abstract place(): Place | undefined;

  logicalSectorBytes(): number {
    return 512;
  }

  get openCount(): number {
    return this.#openCount;
  }

  get claim(): Claim | undefined {
    return this.#claim;
  }

  /** EBUSY where another kind of user has claimed it. */
  open(claim?: Claim): void {
    if (claim !== undefined) {
      if (this.#claim !== undefined && this.#claim !== claim) {
        throw new Refusal("EBUSY", `the ${this.#claim} has it open`);
      }
      this.#claim = claim;
      this.#claims += 1;
    }
    this.#openCount += 1;
  }

  close(claim?: Claim): void {
    this.#openCount -= 1;
    if (claim !== undefined) {
      this.#claims -= 1;
      if (this.#claims === 0) this.#claim = undefined;
    }
    if (this.#openCount === 0) this.lastClose();
  }

  protected lastClose(): void {
    // Most devices stay when nobody has them open; loop and dm devices override this.
  }
}

/** EIO past the end, as the block layer answers. */
export function checkRange(node: BlockIo, offsetBytes: number, lengthBytes: number): void {
  if (offsetBytes < 0 || lengthBytes < 0 || offsetBytes + lengthBytes > node.sizeBytes()) {
    throw new Refusal(
      "EIO",
      `bytes ${offsetBytes} to ${offsetBytes + lengthBytes} are past its end`,
    );
  }
}

/** What survives a power cut: disks by identity, and the thin pools' metadata on them. */
export class Stores {
  readonly #disks = new Map<string, Disk>();
  /** By the place of its first block: a disk may have those of several pools. */
  readonly #metadata = new Map<Disk, Map<number, ThinMetadata>>();

  disk(identity: string): Disk {
    let disk = this.#disks.get(identity);
    if (disk === undefined) {
      disk = new Disk();
      this.#disks.set(identity, disk);
    }
    return disk;
  }

  metadata({ disk, offsetBytes }: Place): ThinMetadata | undefined {
    return this.#metadata.get(disk)?.get(offsetBytes);
  }

  setMetadata({ disk, offsetBytes }: Place, metadata: ThinMetadata): void {
    const onDisk = this.#metadata.get(disk) ?? new Map<number, ThinMetadata>();
    onDisk.set(offsetBytes, metadata);
    this.#metadata.set(disk, onDisk);
  }

  powerCut(): void {
    for (const disk of this.#disks.values()) disk.forget();
    for (const onDisk of this.#metadata.values()) {
      for (const metadata of onDisk.values()) metadata.forget();
    }
  }
}

export class Machine {
  readonly stores: Stores;
  readonly #nodes = new Set<BlockNode>();
  /** What mknod(2) made, beside the nodes that devices have by themselves. */
  readonly madeNodes: Map<string, DevNumber> = new Map();

  constructor(stores: Stores) {
    this.stores = stores;
  }

  add(node: BlockNode): void {
    this.#nodes.add(node);
  }

  delete(node: BlockNode): void {
    this.#nodes.delete(node);
  }

  byPath(path: string): BlockNode | undefined {
    const made = this.madeNodes.get(path);
    if (made !== undefined) return this.byNumber(made);
    return [...this.#nodes].find((node) => node.paths().includes(path));
  }

  byNumber(dev: DevNumber): BlockNode | undefined {
    const wanted = formatDevNumber(dev);
    return [...this.#nodes].find((node) => formatDevNumber(node.dev) === wanted);
  }

  /** ENOENT where there is no such node. */
  node(path: string): BlockNode {
    const node = this.byPath(path);
    if (node === undefined) throw new Refusal("ENOENT", "there is no such block device");
    return node;
  }

  /** As a table names a device: `MAJOR:MINOR` (ENXIO where unknown) or a path (ENODEV). */
  tableDevice(text: string): BlockNode {
    const parts = /^(\d+):(\d+)$/.exec(text);
    const node =
      parts === null
        ? this.byPath(text)
        : this.byNumber({ major: Number(parts[1]), minor: Number(parts[2]) });
    if (node === undefined) {
      throw new Refusal(parts === null ? "ENODEV" : "ENXIO", `${text}: device lookup failed`);
    }
    return node;
  }
}
