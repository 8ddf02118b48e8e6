import { bytesFlag, dryRunFlag, sizeFlag } from "../../lib/flags.ts";
import { interruptible } from "../../lib/interruption.ts";
import { PoolAccessCommand } from "../../lib/pool/pool-access.ts";
import { Progress } from "../../lib/progress.ts";
import { formatSize } from "../../lib/size.ts";

export default class PoolExtend extends PoolAccessCommand {
  static override summary = "Make the pool larger.";
  static override description =
    "Files are made longer, to the sizes given; of block devices that became longer all is used, where no size is given. Only administrators may.";
  static override examples = ["<%= config.bin %> <%= command.id %> --data-size 200GiB"];
  static override flags = {
    bytes: bytesFlag,
    "dry-run": dryRunFlag,
    "data-size": sizeFlag({ summary: "How large the data shall be." }),
    "metadata-size": sizeFlag({ summary: "How large the metadata shall be." }),
  };

  async run() {
    const { flags } = await this.parse(PoolExtend);
    const show = (size: bigint): string => (flags.bytes ? String(size) : formatSize(size));
    const { "data-size": dataBytes, "metadata-size": metadataBytes } = flags;
    return await this.withPoolAccess(flags, async (pool) => {
      if (flags["dry-run"]) {
        const now = await pool.extent();
        const step = (what: string, from: bigint, to: bigint | undefined): string =>
          `extend the ${what} from ${show(from)} to ${to === undefined ? "all there is" : show(to)}`;
        const all = now.onDevices && dataBytes === undefined && metadataBytes === undefined;
        return this.planned(
          ...(dataBytes !== undefined || all ? [step("data", now.dataBytes, dataBytes)] : []),
          ...(metadataBytes !== undefined || all
            ? [step("metadata", now.metadataBytes, metadataBytes)]
            : []),
        );
      }
      const left = "What has begun goes on to its end; `thinpool pool status` shows its sizes.";
      const cancelled = { name: "extension", object: "the pool", left };
      const extended = await interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "extending", silent: this.jsonEnabled() });
        return await pool.extend({ dataBytes, metadataBytes, signal });
      });
      this.log(`data ${show(extended.dataBytes)}, metadata ${show(extended.metadataBytes)}`);
      return extended;
    });
  }
}
