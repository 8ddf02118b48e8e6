/** thin_dump's format, as far as the simulated tools write and read it. */
import type { MetadataView } from "./thin-metadata.ts";

export function toXml(view: MetadataView): string {
  const lines = [
    `<superblock uuid="" time="0" transaction="${view.transactionId}" flags="0" version="2" ` +
      `data_block_size="${view.blockSectors}" nr_data_blocks="${view.dataBlocks}">`,
  ];
  for (const [id, { blocks, createdAt }] of view.thins) {
    lines.push(
      `  <device dev_id="${id}" mapped_blocks="${blocks.size}" transaction="${createdAt}" ` +
        `creation_time="0" snap_time="0">`,
    );
    for (const [virtual, block] of [...blocks].toSorted(([a], [b]) => a - b)) {
      lines.push(`    <single_mapping origin_block="${virtual}" data_block="${block}" time="0"/>`);
    }
    lines.push("  </device>");
  }
  lines.push("</superblock>", "");
  return lines.join("\n");
}

/** Undefined where the text is not whole. */
export function fromXml(text: string): MetadataView | undefined {
  if (!text.trimEnd().endsWith("</superblock>")) return undefined;
  const thins = new Map<number, { blocks: Map<number, number>; createdAt: bigint }>();
  let head: Omit<MetadataView, "thins"> | undefined;
  let device: Map<number, number> | undefined;
  for (const line of text.split("\n")) {
    const of = (name: string): number =>
      Number(new RegExp(` ${name}="(\\d+)"`).exec(line)?.[1] ?? Number.NaN);
    const tag = /<(\w+)/.exec(line)?.[1];
    if (tag === "superblock") {
      head = {
        transactionId: BigInt(of("transaction")),
        blockSectors: of("data_block_size"),
        dataBlocks: of("nr_data_blocks"),
      };
    } else if (tag === "device") {
      device = new Map();
      thins.set(of("dev_id"), { blocks: device, createdAt: BigInt(of("transaction")) });
    } else if (tag === "single_mapping") {
      device?.set(of("origin_block"), of("data_block"));
    }
  }
  return head === undefined ? undefined : { ...head, thins };
}
