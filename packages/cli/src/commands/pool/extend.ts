import { bytesFlag, dryRunFlag, sizeFlag } from "../../lib/flags.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { formatSize } from "../../lib/size.ts";

export default class PoolExtend extends PoolCommand {
  static override summary = "Make the pool larger.";
  static override description =
    "Files are made longer, to the sizes given; of block devices that became longer all is used, where no size is given. Needs root, and no process that has the pool open.";
  static override examples = ["<%= config.bin %> <%= command.id %> --data-size 200GiB"];
  static override flags = {
    bytes: bytesFlag,
    "dry-run": dryRunFlag,
    "data-size": sizeFlag({ summary: "How large the data shall be." }),
    "metadata-size": sizeFlag({ summary: "How large the metadata shall be." }),
  };

  async run() {
    const { flags } = await this.parse(PoolExtend);
    const { folder } = flags;
    const show = (size: bigint): string => (flags.bytes ? String(size) : formatSize(size));
    const { "data-size": dataBytes, "metadata-size": metadataBytes } = flags;
    if (flags["dry-run"]) {
      const { readClosedPool } = await import("@thinpool/thinpool");
      const now = await this.withKernel((kernel) => readClosedPool({ folder, kernel }));
      const step = (what: string, from: bigint, to: bigint | undefined): string =>
        `extend the ${what} from ${show(from)} to ${to === undefined ? "all there is" : show(to)}`;
      const all = now.backing === "block" && dataBytes === undefined && metadataBytes === undefined;
      return this.planned(
        ...(dataBytes !== undefined || all ? [step("data", now.dataBytes, dataBytes)] : []),
        ...(metadataBytes !== undefined || all
          ? [step("metadata", now.metadataBytes, metadataBytes)]
          : []),
      );
    }
    const extended = await this.withPool(folder, (pool) =>
      pool.extend({
        ...(dataBytes === undefined ? {} : { dataBytes }),
        ...(metadataBytes === undefined ? {} : { metadataBytes }),
      }),
    );
    this.log(`data ${show(extended.dataBytes)}, metadata ${show(extended.metadataBytes)}`);
    return extended;
  }
}
