/**
 * A thin pool's metadata: which thin device has which block of the data device, what of it is
 * committed, and how full both spaces are. Errnos as in drivers/md/dm-thin-metadata.c.
 */
import { MAX_THIN_ID } from "@thinpool/dm-native";
import { Refusal } from "./faults.ts";

/** One thin device's mapping. Shared by snapshots and by the committed state until it is changed. */
interface Tree {
  readonly blocks: Map<number, number>;
  frozen: boolean;
}

interface ThinRecord {
  tree: Tree;
  readonly createdAt: bigint;
}

/** What the tools read of a pool's metadata. */
export interface MetadataView {
  readonly blockSectors: number;
  readonly dataBlocks: number;
  readonly transactionId: bigint;
  /** By thin id: the data block of each mapped block, and the pool's transaction at its creation. */
  readonly thins: ReadonlyMap<
    number,
    { readonly blocks: ReadonlyMap<number, number>; readonly createdAt: bigint }
  >;
}

interface Committed {
  readonly thins: ReadonlyMap<number, ThinRecord>;
  readonly transactionId: bigint;
  readonly dataBlocks: number;
  readonly metadataBlocks: number;
  readonly held: MetadataView | undefined;
  readonly needsCheck: boolean;
}

/** dm-thin-metadata.c, `__set_metadata_reserve`: a tenth, at most 16 MiB, counts as used. */
const MAX_RESERVE_BLOCKS = 4096;
/** persistent-data: a bitmap block describes so many blocks ((4096 - 16) bytes, 2 bits each). */
const BLOCKS_PER_BITMAP = 16_320;
/** Entries of a B-tree leaf that was filled in order: half of 252, plus what a split leaves. */
const ENTRIES_PER_LEAF = 252;
/** What an empty pool has beside its bitmaps: superblock, two roots, two space maps of two blocks. */
const FIXED_BLOCKS = 7;
/** Where the held root stands is the kernel's own affair; any block past the space maps will do. */
const HELD_ROOT_BLOCK = 54n;

export class ThinMetadata {
  readonly blockSectors: number;
  transactionId = 0n;
  dataBlocks = 0;
  metadataBlocks: number;
  needsCheck = false;
  /** Set by tests: the tools call the metadata damaged, and repairing it loses these thin devices. */
  damage: { readonly lost: readonly number[] } | undefined;
  #held: MetadataView | undefined;
  /** The data blocks that the metadata snapshot maps, and those of them that nothing else maps any more. */
  #heldBlocks: ReadonlySet<number> = new Set();
  readonly #heldAlone = new Set<number>();
  #thins = new Map<number, ThinRecord>();
  /** How often each data block is mapped; unmapped ones are missing. */
  #references = new Map<number, number>();
  /** Freed since the last commit: not given out again before the next, nor counted as free. */
  readonly #freed = new Set<number>();
  #cursor = 0;
  #committed: Committed;
  /** Tests set it to fill the metadata device. */
  extraMetadataBlocks = 0;

  constructor(options: { readonly blockSectors: number; readonly metadataBlocks: number }) {
    this.blockSectors = options.blockSectors;
    this.metadataBlocks = options.metadataBlocks;
    this.#committed = this.#snapshotOfState();
  }

  /** What a tool makes of another pool's metadata: a repaired or restored one, committed. */
  static of(view: MetadataView, metadataBlocks: number): ThinMetadata {
    const made = new ThinMetadata({ blockSectors: view.blockSectors, metadataBlocks });
    made.transactionId = view.transactionId;
    made.dataBlocks = view.dataBlocks;
    for (const [id, { blocks, createdAt }] of view.thins) {
      made.#thins.set(id, { tree: { blocks: new Map(blocks), frozen: true }, createdAt });
      for (const block of blocks.values()) made.#reference(block);
    }
    made.commit();
    return made;
  }

  get heldRoot(): boolean {
    return this.#held !== undefined;
  }

  /** As committed: what a tool reads of a pool that is down. */
  view(): MetadataView {
    const { thins, transactionId, dataBlocks } = this.#committed;
    return {
      blockSectors: this.blockSectors,
      dataBlocks,
      transactionId,
      thins: new Map(
        [...thins].map(([id, thin]) => [
          id,
          { blocks: thin.tree.blocks, createdAt: thin.createdAt },
        ]),
      ),
    };
  }

  /** What a tool reads through the metadata snapshot of a live pool. */
  heldView(): MetadataView | undefined {
    return this.#held;
  }

  commit(): void {
    for (const thin of this.#thins.values()) thin.tree.frozen = true;
    this.#freed.clear();
    this.#committed = this.#snapshotOfState();
  }

  /** Back to what was committed last: a power cut, or an aborted transaction. */
  forget(): void {
    const last = this.#committed;
    this.#thins = new Map(
      [...last.thins].map(([id, thin]) => [id, { tree: thin.tree, createdAt: thin.createdAt }]),
    );
    this.transactionId = last.transactionId;
    this.dataBlocks = last.dataBlocks;
    this.metadataBlocks = last.metadataBlocks;
    this.#held = last.held;
    this.needsCheck = last.needsCheck;
    this.#freed.clear();
    this.#cursor = 0;
    this.#references = new Map();
    for (const { tree } of this.#thins.values()) {
      for (const block of tree.blocks.values()) this.#reference(block);
    }
    this.#holdBlocks();
  }

  has(id: number): boolean {
    return this.#thins.has(id);
  }

  ids(): readonly number[] {
    return [...this.#thins.keys()].toSorted((a, b) => a - b);
  }

  createThin(id: number): void {
    this.#refuseTaken(id);
    const tree = { blocks: new Map<number, number>(), frozen: false };
    this.#thins.set(id, { tree, createdAt: this.transactionId });
  }

  createSnap(id: number, origin: number): void {
    this.#refuseTaken(id);
    const { tree } = this.#thin(origin);
    tree.frozen = true;
    for (const block of tree.blocks.values()) this.#reference(block);
    this.#thins.set(id, { tree, createdAt: this.transactionId });
  }

  delete(id: number): void {
    const { tree } = this.#thin(id);
    for (const block of tree.blocks.values()) this.#release(block);
    this.#thins.delete(id);
  }

  setTransactionId(old: bigint, next: bigint): void {
    if (this.transactionId !== old) {
      throw new Refusal("EINVAL", `the transaction id is ${this.transactionId}, not ${old}`);
    }
    this.transactionId = next;
  }

  reserveSnap(): void {
    if (this.heldRoot) throw new Refusal("EBUSY", "the pool has a metadata snapshot already");
    this.commit();
    this.#held = this.view();
    this.#holdBlocks();
  }

  releaseSnap(): void {
    if (!this.heldRoot) throw new Refusal("EINVAL", "the pool has no metadata snapshot");
    this.#held = undefined;
    for (const block of this.#heldAlone) this.#freed.add(block);
    this.#holdBlocks();
  }

  /** The data block of a thin device's block. */
  lookup(
    id: number,
    virtual: number,
  ): { readonly block: number; readonly shared: boolean } | undefined {
    const block = this.#thin(id).tree.blocks.get(virtual);
    if (block === undefined) return undefined;
    return { block, shared: (this.#references.get(block) ?? 0) > 1 };
  }

  /** A free data block, or undefined where there is none. */
  allocate(): number | undefined {
    for (let tried = 0; tried < this.dataBlocks; tried += 1) {
      const block = this.#cursor;
      this.#cursor = (this.#cursor + 1) % this.dataBlocks;
      const isTaken = this.#references.has(block) || this.#heldAlone.has(block);
      if (!isTaken && !this.#freed.has(block)) return block;
    }
    return undefined;
  }

  map(id: number, virtual: number, block: number): void {
    const { blocks } = this.#ownTree(id);
    const before = blocks.get(virtual);
    blocks.set(virtual, block);
    this.#reference(block);
    if (before !== undefined) this.#release(before);
  }

  /** The data block that lost its last mapping by this, if it did. */
  unmap(id: number, virtual: number): number | undefined {
    if (!this.#thin(id).tree.blocks.has(virtual)) return undefined;
    const { blocks } = this.#ownTree(id);
    const block = blocks.get(virtual);
    blocks.delete(virtual);
    if (block === undefined) return undefined;
    this.#release(block);
    return this.#references.has(block) ? undefined : block;
  }

  mappedBlocks(id: number): number {
    return this.#thin(id).tree.blocks.size;
  }

  highestBlock(id: number): number | undefined {
    let highest: number | undefined;
    for (const virtual of this.#thin(id).tree.blocks.keys()) {
      if (highest === undefined || virtual > highest) highest = virtual;
    }
    return highest;
  }

  virtualBlocks(id: number): readonly number[] {
    return [...this.#thin(id).tree.blocks.keys()].toSorted((a, b) => a - b);
  }

  usedDataBlocks(): number {
    return this.#references.size + this.#heldAlone.size + this.#freed.size;
  }

  /** Right for an empty pool, an estimate for a filled one: trees are counted, not built. */
  usedMetadataBlocks(): number {
    let used = FIXED_BLOCKS + this.extraMetadataBlocks + (this.heldRoot ? 1 : 0);
    used += Math.ceil(this.metadataBlocks / BLOCKS_PER_BITMAP);
    used += Math.ceil(this.dataBlocks / BLOCKS_PER_BITMAP);
    used += Math.min(MAX_RESERVE_BLOCKS, Math.floor(this.metadataBlocks / 10));
    const trees = new Set([...this.#thins.values()].map((thin) => thin.tree));
    for (const tree of trees) {
      const leaves = Math.max(1, Math.ceil(tree.blocks.size / ENTRIES_PER_LEAF));
      used += leaves > 1 ? leaves + 1 : leaves;
    }
    return Math.min(used, this.metadataBlocks);
  }

  heldRootBlock(): bigint | undefined {
    return this.heldRoot ? HELD_ROOT_BLOCK : undefined;
  }

  /** Throws where the books don't balance: every mapped block is counted as often as it is mapped. */
  check(): void {
    const counted = new Map<number, number>();
    for (const { tree } of this.#thins.values()) {
      for (const block of tree.blocks.values()) counted.set(block, (counted.get(block) ?? 0) + 1);
    }
    for (const [block, count] of counted) {
      if (this.#references.get(block) !== count || block >= this.dataBlocks) {
        throw new Error(`data block ${block}: mapped ${count} times, not as counted`);
      }
    }
    if (counted.size !== this.#references.size) throw new Error("data blocks have leaked");
  }

  #snapshotOfState(): Committed {
    return {
      thins: new Map([...this.#thins].map(([id, thin]) => [id, { ...thin }])),
      transactionId: this.transactionId,
      dataBlocks: this.dataBlocks,
      metadataBlocks: this.metadataBlocks,
      held: this.#held,
      needsCheck: this.needsCheck,
    };
  }

  #refuseTaken(id: number): void {
    if (this.#thins.has(id))
      throw new Refusal("EEXIST", `the pool has a thin device ${id} already`);
  }

  #thin(id: number): ThinRecord {
    const thin = this.#thins.get(id);
    if (thin === undefined || id > MAX_THIN_ID) {
      throw new Refusal("ENODATA", `the pool has no thin device ${id}`);
    }
    return thin;
  }

  #ownTree(id: number): Tree {
    const thin = this.#thin(id);
    if (thin.tree.frozen) thin.tree = { blocks: new Map(thin.tree.blocks), frozen: false };
    return thin.tree;
  }

  #reference(block: number): void {
    this.#references.set(block, (this.#references.get(block) ?? 0) + 1);
  }

  #release(block: number): void {
    const left = (this.#references.get(block) ?? 0) - 1;
    if (left > 0) {
      this.#references.set(block, left);
    } else {
      this.#references.delete(block);
      if (this.#heldBlocks.has(block)) this.#heldAlone.add(block);
      else this.#freed.add(block);
    }
  }

  #holdBlocks(): void {
    const thins = this.#held === undefined ? [] : [...this.#held.thins.values()];
    this.#heldBlocks = new Set(thins.flatMap(({ blocks }) => [...blocks.values()]));
    this.#heldAlone.clear();
    for (const block of this.#heldBlocks) {
      if (!this.#references.has(block)) this.#heldAlone.add(block);
    }
  }
}
