/** What thin_dump prints: a superblock, its devices and their mappings. */
import { thinId, transactionId } from "@thinpool/dm-native";
import type { MetadataDevice, MetadataListing, MetadataSuperblock } from "./metadata-tools.ts";
import { numberOf, readTags, type Tag } from "./xml-tags.ts";

/** Newer tools print a shared part of a mapping tree once; there are fewer than metadata blocks. */
const MAX_SHARED_PARTS: number = 1 << 22;

/** SyntaxError where it is no dump of thin metadata, or one that was cut. */
export async function readDump(chunks: AsyncIterable<Buffer | string>): Promise<MetadataListing> {
  const reader = new DumpReader();
  for await (const tag of readTags(chunks)) reader.take(tag);
  return reader.end();
}

class DumpReader {
  #superblock: MetadataSuperblock | undefined;
  #whole = false;
  readonly #devices: MetadataDevice[] = [];
  /** The highest block of each shared part (<def>), by name. */
  readonly #parts = new Map<string, bigint | undefined>();
  #device: Omit<MetadataDevice, "highestBlock"> | undefined;
  #part: string | undefined;
  #highest: bigint | undefined;

  take(tag: Tag): void {
    switch (tag.name) {
      case "superblock":
        this.#takeSuperblock(tag);
        break;
      case "device":
        this.#takeDevice(tag);
        break;
      case "def":
        this.#takePart(tag);
        break;
      case "ref":
        this.#raise(this.#parts.get(tag.attributes.get("name") ?? ""));
        break;
      case "single_mapping":
        this.#raise(numberOf(tag, "origin_block"));
        break;
      case "range_mapping":
        this.#raise(numberOf(tag, "origin_begin") + numberOf(tag, "length") - 1n);
        break;
      default:
      // Newer tools may say more.
    }
  }

  end(): MetadataListing {
    if (this.#superblock === undefined || !this.#whole) {
      throw new SyntaxError("it has no whole <superblock>");
    }
    const devices = this.#devices.toSorted((a, b) => a.thinId - b.thinId);
    return { superblock: this.#superblock, devices };
  }

  #takeSuperblock(tag: Tag): void {
    if (tag.kind !== "open") {
      this.#whole = true;
      if (tag.kind === "close") return;
    }
    this.#superblock = {
      transactionId: transactionId(numberOf(tag, "transaction")),
      blockSectors: numberOf(tag, "data_block_size"),
      dataBlocks: numberOf(tag, "nr_data_blocks"),
    };
  }

  #takeDevice(tag: Tag): void {
    if (tag.kind !== "close") {
      this.#device = {
        thinId: thinId(Number(numberOf(tag, "dev_id"))),
        mappedBlocks: numberOf(tag, "mapped_blocks"),
        transactionId: transactionId(numberOf(tag, "transaction")),
      };
      this.#highest = undefined;
    }
    if (tag.kind === "open" || this.#device === undefined) return;
    this.#devices.push({ ...this.#device, highestBlock: this.#highest });
    this.#device = undefined;
  }

  #takePart(tag: Tag): void {
    if (tag.kind === "open") {
      this.#part = tag.attributes.get("name");
      this.#highest = undefined;
      return;
    }
    if (this.#part === undefined) return;
    if (this.#parts.size >= MAX_SHARED_PARTS) throw new SyntaxError("too many shared parts");
    this.#parts.set(this.#part, this.#highest);
    this.#part = undefined;
  }

  #raise(block: bigint | undefined): void {
    if (block === undefined) return;
    if (this.#highest === undefined || block > this.#highest) this.#highest = block;
  }
}
