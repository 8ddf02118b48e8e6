/**
 * thin_check, thin_dump, thin_ls, thin_delta, thin_restore and thin_repair, answered from the metadata
 * in memory. As the programs do, they take a pool that is down, or the metadata snapshot of a live one.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { type ThinId, thinId, type TransactionId, transactionId } from "@thinpool/dm-native";
import { type Gate, Refusal } from "./faults.ts";
import type { BlockNode, Machine } from "./machine.ts";
import { fromXml, toXml } from "./metadata-xml.ts";
import { type MetadataView, ThinMetadata } from "./thin-metadata.ts";
import { hasSuperblock, metadataBlocksOf, writeSuperblock } from "./thin-pool.ts";

const SECTOR_BYTES = 512n;

export interface SimMetadataSource {
  readonly path: string;
  readonly snapshot?: boolean;
  readonly signal?: AbortSignal;
}

export interface SimMetadataDevice {
  readonly thinId: ThinId;
  readonly mappedBlocks: bigint;
  readonly transactionId: TransactionId;
  readonly highestBlock: bigint | undefined;
}

export interface SimMetadataSuperblock {
  readonly transactionId: TransactionId;
  readonly blockSectors: bigint;
  readonly dataBlocks: bigint;
}

export interface SimThinUsage {
  readonly thinId: ThinId;
  readonly mappedBytes: bigint;
  readonly exclusiveBytes: bigint;
  readonly sharedBytes: bigint;
  readonly transactionId: TransactionId;
}

export interface SimBlockDifference {
  readonly kind: "changed" | "added" | "removed";
  readonly beginBlock: bigint;
  readonly lengthBlocks: bigint;
}

export class SimMetadataTools {
  /** False: every call is refused as on a machine without the programs. */
  installed = true;
  readonly #gate: Gate;
  readonly #machine: Machine;

  constructor(gate: Gate, machine: Machine) {
    this.#gate = gate;
    this.#machine = machine;
  }

  check(
    options: SimMetadataSource & { readonly clearNeedsCheck?: boolean },
  ): Promise<{ readonly outcome: "clean" | "damaged"; readonly report: string }> {
    return this.#call("thin_check", options, (node) => {
      const metadata = this.#metadata(node);
      if (options.snapshot === true) this.#view(node, options);
      if (metadata === undefined || !hasSuperblock(node)) {
        return { outcome: "damaged" as const, report: "superblock is corrupt" };
      }
      if (metadata.damage !== undefined) {
        return { outcome: "damaged" as const, report: "missing mappings" };
      }
      metadata.check();
      if (options.clearNeedsCheck === true) {
        metadata.needsCheck = false;
        metadata.commit();
      }
      return { outcome: "clean" as const, report: "" };
    });
  }

  read(options: SimMetadataSource & { readonly mappings?: boolean }): Promise<{
    readonly superblock: SimMetadataSuperblock;
    readonly devices: readonly SimMetadataDevice[];
  }> {
    return this.#call("thin_dump", options, (node) => {
      const view = this.#view(node, options);
      const superblock = {
        transactionId: transactionId(view.transactionId),
        blockSectors: BigInt(view.blockSectors),
        dataBlocks: BigInt(view.dataBlocks),
      };
      const devices = ids(view).map(([id, { blocks, createdAt }]) => ({
        thinId: thinId(id),
        mappedBlocks: BigInt(blocks.size),
        transactionId: transactionId(createdAt),
        highestBlock:
          options.mappings === true && blocks.size > 0 ? BigInt(highest(blocks)) : undefined,
      }));
      return { superblock, devices };
    });
  }

  usage(options: SimMetadataSource): Promise<readonly SimThinUsage[]> {
    return this.#call("thin_ls", options, (node) => {
      const view = this.#view(node, options);
      const counts = new Map<number, number>();
      for (const { blocks } of view.thins.values()) {
        for (const block of blocks.values()) counts.set(block, (counts.get(block) ?? 0) + 1);
      }
      const blockBytes = BigInt(view.blockSectors) * SECTOR_BYTES;
      return ids(view).map(([id, { blocks, createdAt }]) => {
        const alone = [...blocks.values()].filter((block) => counts.get(block) === 1).length;
        return {
          thinId: thinId(id),
          mappedBytes: BigInt(blocks.size) * blockBytes,
          exclusiveBytes: BigInt(alone) * blockBytes,
          sharedBytes: BigInt(blocks.size - alone) * blockBytes,
          transactionId: transactionId(createdAt),
        };
      });
    });
  }

  async *delta(
    options: SimMetadataSource & { readonly from: number; readonly to: number },
  ): AsyncGenerator<SimBlockDifference> {
    yield* await this.#call("thin_delta", options, (node) => {
      const { thins } = this.#view(node, options);
      const [from, to] = [thins.get(options.from), thins.get(options.to)];
      if (from === undefined || to === undefined) {
        throw new Refusal("ENODATA", "unable to find the mapping tree of both devices");
      }
      return differences(from.blocks, to.blocks);
    });
  }

  /** The data's size is in memory: it need not be told, as the program must be. */
  dump(
    options: SimMetadataSource & { readonly file: string; readonly dataBlocks: bigint },
  ): Promise<void> {
    return this.#call("thin_dump", options, (node) => {
      const text = toXml(this.#view(node, options));
      const file = openSync(options.file, "wx", 0o600);
      try {
        writeFileSync(file, text);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    });
  }

  restore(options: {
    readonly file: string;
    readonly path: string;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    return this.#call("thin_restore", options, (node) => {
      const view = fromXml(readFileSync(options.file, "utf8"));
      if (view === undefined) throw new Refusal("EIO", "the dump is not whole");
      this.#put(node, view);
    });
  }

  /** What can be saved is all but the lost devices; a lost superblock is taken from `known`. */
  repair(options: {
    readonly from: string;
    readonly to: string;
    readonly known: SimMetadataSuperblock;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    return this.#call("thin_repair", { path: options.from }, (node) => {
      const metadata = this.#metadata(node);
      if (metadata === undefined) throw new Refusal("EIO", "nothing of the metadata can be saved");
      const view = metadata.view();
      const lost = metadata.damage?.lost ?? [];
      this.#put(this.#down(options.to), {
        ...view,
        transactionId: hasSuperblock(node) ? view.transactionId : options.known.transactionId,
        thins: new Map([...view.thins].filter(([id]) => !lost.includes(id))),
      });
    });
  }

  async #call<T>(
    program: string,
    source: SimMetadataSource,
    effect: (node: BlockNode) => T,
  ): Promise<T> {
    source.signal?.throwIfAborted();
    return this.#gate.call(program, source.path, "", () => {
      if (!this.installed) throw new Refusal("ENOSYS", "the program is not installed");
      const node =
        source.snapshot === true ? this.#machine.node(source.path) : this.#down(source.path);
      return effect(node);
    });
  }

  #down(path: string): BlockNode {
    const node = this.#machine.node(path);
    if (node.claim !== undefined) throw new Refusal("EBUSY", `the ${node.claim} has it open`);
    return node;
  }

  #metadata(node: BlockNode): ThinMetadata | undefined {
    const place = node.place();
    return place && this.#machine.stores.metadata(place);
  }

  #view(node: BlockNode, source: SimMetadataSource): MetadataView {
    const metadata = this.#metadata(node);
    if (metadata === undefined || !hasSuperblock(node)) {
      throw new Refusal("EIO", "bad checksum in superblock");
    }
    if (source.snapshot !== true) return metadata.view();
    const held = metadata.heldView();
    if (held === undefined) throw new Refusal("EINVAL", "no current metadata snap");
    return held;
  }

  /** As the programs leave it: in the device's cache, until somebody flushes it. */
  #put(node: BlockNode, view: MetadataView): void {
    const place = node.place();
    if (place === undefined) throw new Refusal("EINVAL", "the device has no storage of its own");
    this.#machine.stores.setMetadata(place, ThinMetadata.of(view, metadataBlocksOf(node)));
    writeSuperblock(node);
  }
}

function ids(view: MetadataView) {
  return [...view.thins].toSorted(([a], [b]) => a - b);
}

function highest(blocks: ReadonlyMap<number, number>): number {
  let found = 0;
  for (const virtual of blocks.keys()) found = Math.max(found, virtual);
  return found;
}

function differences(
  from: ReadonlyMap<number, number>,
  to: ReadonlyMap<number, number>,
): readonly SimBlockDifference[] {
  const out: { kind: SimBlockDifference["kind"]; beginBlock: bigint; lengthBlocks: bigint }[] = [];
  for (const virtual of [...new Set([...from.keys(), ...to.keys()])].toSorted((a, b) => a - b)) {
    const [left, right] = [from.get(virtual), to.get(virtual)];
    if (left === right) continue;
    const kind = left === undefined ? "added" : right === undefined ? "removed" : "changed";
    const last = out.at(-1);
    if (last?.kind === kind && last.beginBlock + last.lengthBlocks === BigInt(virtual)) {
      last.lengthBlocks += 1n;
    } else {
      out.push({ kind, beginBlock: BigInt(virtual), lengthBlocks: 1n });
    }
  }
  return out;
}
