import { bytesFlag } from "../../lib/flags.ts";
import { withKernel } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";

export default class PoolList extends PoolCommand {
  static override summary = "List the pools of this host: those that are up, and that of --folder.";
  static override description =
    "Looks at the kernel's devices and at the folder; a pool that is down in another folder is not found. Needs root.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(PoolList);
    const { knownPools, renderKnownPools } = await import("../../lib/pool/known-pools.ts");
    const pools = await withKernel((kernel) => knownPools(kernel, flags.folder));
    this.log(renderKnownPools(pools, flags));
    return pools;
  }
}
