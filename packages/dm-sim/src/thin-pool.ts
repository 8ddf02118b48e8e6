/**
 * A running thin pool: block-level I/O with copy on write over its metadata and data device, the
 * modes it falls into, messages and status. Behaviour and errnos as in drivers/md/dm-thin.c.
 */
import { MAX_THIN_ID, METADATA_BLOCK_SIZE_BYTES } from "@thinpool/dm-native";
import { Refusal } from "./faults.ts";
import type { BlockIo, BlockNode, Machine } from "./machine.ts";
import { ThinMetadata } from "./thin-metadata.ts";

const SECTOR_BYTES = 512;
const METADATA_BLOCK_BYTES = Number(METADATA_BLOCK_SIZE_BYTES);
/** dm-thin-metadata.c: THIN_SUPERBLOCK_MAGIC, a little-endian u64 at byte 32 of block 0. */
const SUPERBLOCK_MAGIC = 27_022_010n;
const MAGIC_OFFSET_BYTES = 32;
const EMPTY_BLOCK: Buffer = Buffer.alloc(METADATA_BLOCK_BYTES);
/** dm-thin-metadata.h: THIN_METADATA_MAX_SECTORS; what is beyond is not used. */
const MAX_METADATA_BLOCKS = (255 * ((1 << 14) - 64) * 8) / 8;
/** dm-thin.c: the metadata low-water mark is at most 4 MiB. */
const MAX_METADATA_LOW_WATER_BLOCKS = 1024;

/** In the kernel's order: a pool that needs a check never goes back to a lower one. */
export const POOL_MODES = ["write", "out-of-data", "out-of-metadata", "read-only", "fail"] as const;
export type PoolMode = (typeof POOL_MODES)[number];

export interface PoolFeatures {
  readonly skipBlockZeroing: boolean;
  readonly ignoreDiscard: boolean;
  readonly noDiscardPassdown: boolean;
  readonly readOnly: boolean;
  readonly errorIfNoSpace: boolean;
}

/** What a table line asks of the pool; it takes effect when the device is resumed. */
export interface PoolSettings {
  readonly lengthSectors: number;
  readonly lowWaterBlocks: bigint;
  readonly features: PoolFeatures;
}

function isReadOnlyMode(mode: PoolMode): boolean {
  return mode === "out-of-metadata" || mode === "read-only" || mode === "fail";
}

export class ThinPool {
  readonly metadataNode: BlockNode;
  readonly dataNode: BlockNode;
  readonly metadata: ThinMetadata;
  readonly blockBytes: number;
  /** Raises an event on the pool's dm device. */
  onEvent: () => void = () => undefined;
  suspended = true;
  #mode: PoolMode = "write";
  #settings: PoolSettings;
  #lowWaterTold = false;
  /** Tables that hold a thin device open: it can't be deleted while there are any. */
  readonly #opens = new Map<number, number>();
  /** Tables (live or inactive) of the pool's own device. */
  tables = 0;

  constructor(options: {
    readonly machine: Machine;
    readonly metadataNode: BlockNode;
    readonly dataNode: BlockNode;
    readonly blockSectors: number;
    readonly settings: PoolSettings;
  }) {
    this.metadataNode = options.metadataNode;
    this.dataNode = options.dataNode;
    this.#settings = options.settings;
    this.metadata = openMetadata(options);
    this.blockBytes = options.blockSectors * SECTOR_BYTES;
  }

  get mode(): PoolMode {
    return this.#mode;
  }

  get features(): PoolFeatures {
    return this.#settings.features;
  }

  /** For tests: what the kernel would do by itself after a failed metadata operation. */
  forceMode(mode: PoolMode, needsCheck: boolean): void {
    if (needsCheck) this.metadata.needsCheck = true;
    this.#setMode(mode, { force: true });
  }

  /** Takes the table's settings, grows to its sizes, lets I/O through. EINVAL: something shrank. */
  preresume(settings: PoolSettings): void {
    this.#settings = settings;
    this.#setMode(settings.features.readOnly ? "read-only" : "write");
    if (this.#mode === "fail") return;
    const wantedData = Math.floor((settings.lengthSectors * SECTOR_BYTES) / this.blockBytes);
    if (wantedData < this.metadata.dataBlocks) {
      throw new Refusal(
        "EINVAL",
        `the table has ${wantedData} data blocks, the pool ${this.metadata.dataBlocks}`,
      );
    }
    const wantedMetadata = metadataBlocksOf(this.metadataNode);
    if (wantedMetadata < this.metadata.metadataBlocks) {
      throw new Refusal("EINVAL", "the metadata device is smaller than the pool's metadata");
    }
    // A pool that needs a check takes the longer table and does not grow.
    if (this.metadata.needsCheck) return;
    if (wantedData > this.metadata.dataBlocks || wantedMetadata > this.metadata.metadataBlocks) {
      this.metadata.dataBlocks = wantedData;
      this.metadata.metadataBlocks = wantedMetadata;
      this.commit();
    }
  }

  resume(): void {
    this.#lowWaterTold = false;
    this.suspended = false;
  }

  suspend(): void {
    this.commit();
    this.suspended = true;
  }

  /** The data first, then the metadata that points at it. */
  commit(): void {
    if (isReadOnlyMode(this.#mode)) return;
    const full = this.metadata.usedDataBlocks();
    this.dataNode.flush();
    this.metadata.commit();
    writeSuperblock(this.metadataNode);
    this.metadataNode.flush();
    if (this.#mode === "out-of-data" && this.metadata.usedDataBlocks() < full) {
      this.#setMode("write");
    }
  }

  /** The last table is gone. */
  shutDown(): void {
    this.commit();
  }

  openThin(id: number): void {
    if (this.#mode === "fail") throw new Refusal("EINVAL", "the pool has failed");
    if (!this.metadata.has(id)) throw new Refusal("ENODATA", `the pool has no thin device ${id}`);
    this.#opens.set(id, (this.#opens.get(id) ?? 0) + 1);
  }

  closeThin(id: number): void {
    const left = (this.#opens.get(id) ?? 0) - 1;
    if (left > 0) this.#opens.set(id, left);
    else this.#opens.delete(id);
  }

  /** Each accepted message has committed when it returns. */
  message(text: string): void {
    if (isReadOnlyMode(this.#mode)) {
      throw new Refusal("EOPNOTSUPP", "the pool is read-only or has failed and takes no messages");
    }
    const [verb = "", ...args] = text.split(/\s+/).filter((word) => word.length > 0);
    const wanted = (count: number): void => {
      if (args.length !== count) {
        throw new Refusal("EINVAL", `${verb} takes ${count} arguments, not ${args.length}`);
      }
    };
    switch (verb.toLowerCase()) {
      case "create_thin":
        wanted(1);
        this.metadata.createThin(parseThinId(args[0]));
        break;
      case "create_snap":
        wanted(2);
        this.metadata.createSnap(parseThinId(args[0]), parseThinId(args[1]));
        break;
      case "delete":
        wanted(1);
        this.#delete(parseThinId(args[0]));
        break;
      case "set_transaction_id":
        wanted(2);
        this.metadata.setTransactionId(parseU64(args[0]), parseU64(args[1]));
        break;
      case "reserve_metadata_snap":
        wanted(0);
        this.metadata.reserveSnap();
        break;
      case "release_metadata_snap":
        wanted(0);
        this.metadata.releaseSnap();
        break;
      default:
        throw new Refusal("EINVAL", `thin-pool knows no message ${verb}`);
    }
    this.commit();
  }

  status(options: { readonly noFlush: boolean }): string {
    if (this.#mode === "fail") return "Fail";
    if (!options.noFlush && !this.suspended) this.commit();
    const { metadata, features } = this;
    const lowWater = Math.min(
      MAX_METADATA_LOW_WATER_BLOCKS,
      Math.floor(metadata.metadataBlocks / 4),
    );
    const mode = isReadOnlyMode(this.#mode) ? "ro" : "rw";
    const passdown = features.noDiscardPassdown ? "no_discard_passdown" : "discard_passdown";
    return [
      metadata.transactionId,
      `${metadata.usedMetadataBlocks()}/${metadata.metadataBlocks}`,
      `${metadata.usedDataBlocks()}/${metadata.dataBlocks}`,
      metadata.heldRootBlock() ?? "-",
      this.#mode === "out-of-data" ? "out_of_data_space" : mode,
      features.ignoreDiscard ? "ignore_discard" : passdown,
      features.errorIfNoSpace ? "error_if_no_space" : "queue_if_no_space",
      metadata.needsCheck ? "needs_check" : "-",
      lowWater,
      "",
    ].join(" ");
  }

  thinStatus(id: number): string {
    if (this.#mode === "fail") return "Fail";
    const blockSectors = this.metadata.blockSectors;
    const mapped = this.metadata.mappedBlocks(id) * blockSectors;
    const highest = this.metadata.highestBlock(id);
    return `${mapped} ${highest === undefined ? "-" : (highest + 1) * blockSectors - 1}`;
  }

  /** What is not mapped is read from the external origin as far as that reaches, else zeroes. */
  readThin(id: number, offsetBytes: number, lengthBytes: number, origin?: BlockIo): Buffer {
    this.#refuseIo();
    const out = Buffer.alloc(lengthBytes);
    for (const part of this.#parts(offsetBytes, lengthBytes)) {
      const found = this.metadata.lookup(id, part.virtual);
      if (found === undefined) {
        readOrigin(origin, offsetBytes + part.at, part.length).copy(out, part.at);
        continue;
      }
      const from = found.block * this.blockBytes + part.from;
      this.dataNode.read(from, part.length).copy(out, part.at);
    }
    return out;
  }

  /** ENOSPC where the pool has no block left (see the fault model on queueing). */
  writeThin(id: number, offsetBytes: number, bytes: Uint8Array, origin?: BlockIo): void {
    this.#refuseIo();
    for (const part of this.#parts(offsetBytes, bytes.length)) {
      const block = this.#blockForWrite(id, part.virtual, part.length === this.blockBytes, origin);
      const chunk = bytes.subarray(part.at, part.at + part.length);
      this.dataNode.write(block * this.blockBytes + part.from, chunk);
    }
  }

  /** Whole blocks are unmapped, parts of blocks are left as they are. A read-only pool does nothing. */
  discardThin(id: number, offsetBytes: number, lengthBytes: number): void {
    this.#refuseIo();
    if (this.features.ignoreDiscard) throw new Refusal("EOPNOTSUPP", "the pool ignores discards");
    // dm-thin.c, `set_pool_mode`: process_bio_success.
    if (isReadOnlyMode(this.#mode)) return;
    const first = Math.ceil(offsetBytes / this.blockBytes);
    const end = Math.floor((offsetBytes + lengthBytes) / this.blockBytes);
    for (const virtual of this.metadata.virtualBlocks(id)) {
      if (virtual < first || virtual >= end) continue;
      const freed = this.metadata.unmap(id, virtual);
      if (freed !== undefined && !this.features.noDiscardPassdown) {
        this.dataNode.discard(freed * this.blockBytes, this.blockBytes);
      }
    }
  }

  /** A read-only pool passes it on as it does a write to the first block, which must be mapped (dm-thin.c). */
  flushThin(id: number): void {
    this.#refuseIo();
    if (isReadOnlyMode(this.#mode) && this.metadata.lookup(id, 0) === undefined) {
      throw new Refusal("EIO", "the pool is read-only");
    }
    this.commit();
  }

  #delete(id: number): void {
    if (this.metadata.has(id) && (this.#opens.get(id) ?? 0) > 0) {
      throw new Refusal("EBUSY", `thin device ${id} is active`);
    }
    this.metadata.delete(id);
  }

  #blockForWrite(id: number, virtual: number, whole: boolean, origin: BlockIo | undefined): number {
    const found = this.metadata.lookup(id, virtual);
    if (found !== undefined && !found.shared) return found.block;
    if (isReadOnlyMode(this.#mode)) throw new Refusal("EIO", "the pool is read-only");
    const block = this.#allocate();
    const target = block * this.blockBytes;
    if (found !== undefined) {
      if (!whole) this.#copy(found.block * this.blockBytes, target);
    } else if (!whole && origin !== undefined) {
      const content = readOrigin(origin, virtual * this.blockBytes, this.blockBytes);
      this.dataNode.write(target, content);
    } else if (!whole && !this.features.skipBlockZeroing) {
      this.dataNode.discard(target, this.blockBytes);
    }
    this.metadata.map(id, virtual, block);
    return block;
  }

  #copy(fromBytes: number, toBytes: number): void {
    this.dataNode.write(toBytes, this.dataNode.read(fromBytes, this.blockBytes));
  }

  #allocate(): number {
    if (this.#mode === "out-of-data") throw new Refusal("ENOSPC", "the pool is out of data space");
    const free = this.metadata.dataBlocks - this.metadata.usedDataBlocks();
    if (BigInt(free) <= this.#settings.lowWaterBlocks && !this.#lowWaterTold) {
      this.#lowWaterTold = true;
      this.onEvent();
    }
    let block = this.metadata.allocate();
    if (block === undefined) {
      // Blocks that were freed in this transaction can be had after its commit.
      this.commit();
      block = this.metadata.allocate();
    }
    if (block === undefined) {
      this.#setMode("out-of-data");
      throw new Refusal("ENOSPC", "the pool is out of data space");
    }
    return block;
  }

  #setMode(wanted: PoolMode, options: { readonly force?: boolean } = {}): void {
    const before = this.#mode;
    let next = wanted;
    if (options.force !== true) {
      if (before === "fail") next = "fail";
      if (wanted === "write" && this.metadata.needsCheck && before !== "fail") {
        next = before === "write" ? "read-only" : before;
      }
    }
    this.#mode = next;
    if (before !== next) this.onEvent();
  }

  #refuseIo(): void {
    if (this.#mode === "fail") throw new Refusal("EIO", "the pool has failed");
  }

  *#parts(
    offsetBytes: number,
    lengthBytes: number,
  ): Generator<{ virtual: number; from: number; length: number; at: number }> {
    let at = 0;
    while (at < lengthBytes) {
      const offset = offsetBytes + at;
      const from = offset % this.blockBytes;
      const length = Math.min(this.blockBytes - from, lengthBytes - at);
      yield { virtual: Math.floor(offset / this.blockBytes), from, length, at };
      at += length;
    }
  }
}

/** Zeroes past its end, and without one. */
function readOrigin(origin: BlockIo | undefined, offsetBytes: number, lengthBytes: number): Buffer {
  const out = Buffer.alloc(lengthBytes);
  if (origin === undefined) return out;
  const length = Math.min(lengthBytes, Math.max(0, origin.sizeBytes() - offsetBytes));
  if (length > 0) origin.read(offsetBytes, length).copy(out);
  return out;
}

export function metadataBlocksOf(node: BlockNode): number {
  return Math.min(MAX_METADATA_BLOCKS, Math.floor(node.sizeBytes() / METADATA_BLOCK_BYTES));
}

export function writeSuperblock(node: BlockNode): void {
  const block = Buffer.alloc(METADATA_BLOCK_BYTES);
  block.writeBigUInt64LE(SUPERBLOCK_MAGIC, MAGIC_OFFSET_BYTES);
  node.write(0, block);
}

/** True where the metadata device begins with a thin pool's superblock. */
export function hasSuperblock(node: BlockNode): boolean {
  const superblock = node.read(0, METADATA_BLOCK_BYTES);
  return superblock.readBigUInt64LE(MAGIC_OFFSET_BYTES) === SUPERBLOCK_MAGIC;
}

/** A zeroed first block makes a new pool; one that is neither zero nor ours is EILSEQ. */
function openMetadata(options: {
  readonly machine: Machine;
  readonly metadataNode: BlockNode;
  readonly blockSectors: number;
  readonly settings: PoolSettings;
}): ThinMetadata {
  const { metadataNode, blockSectors } = options;
  const place = metadataNode.place();
  if (place === undefined)
    throw new Refusal("EINVAL", "the metadata device has no storage of its own");
  const superblock = metadataNode.read(0, METADATA_BLOCK_BYTES);
  const known = options.machine.stores.metadata(place);
  if (superblock.equals(EMPTY_BLOCK)) {
    if (options.settings.features.readOnly) {
      throw new Refusal("EPERM", "the metadata is unformatted and the pool is to be read-only");
    }
    const metadata = new ThinMetadata({
      blockSectors,
      metadataBlocks: metadataBlocksOf(metadataNode),
    });
    options.machine.stores.setMetadata(place, metadata);
    writeSuperblock(metadataNode);
    metadataNode.flush();
    return metadata;
  }
  if (known === undefined || !hasSuperblock(metadataNode)) {
    throw new Refusal("EILSEQ", "the metadata device's superblock is not a thin pool's");
  }
  if (known.blockSectors !== blockSectors) {
    throw new Refusal(
      "EINVAL",
      `the pool's block size is ${known.blockSectors} sectors, not ${blockSectors}`,
    );
  }
  return known;
}

function parseU64(text: string | undefined): bigint {
  if (text === undefined || !/^\d+$/.test(text) || BigInt(text) >= 1n << 64n) {
    throw new Refusal("EINVAL", `${text ?? ""} is no number`);
  }
  return BigInt(text);
}

export function parseThinId(text: string | undefined): number {
  const id = parseU64(text);
  if (id > BigInt(MAX_THIN_ID)) throw new Refusal("EINVAL", `thin id ${id} is over 24 bits`);
  return Number(id);
}
