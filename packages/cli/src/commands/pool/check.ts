import { Flags } from "@oclif/core";
import { interruptible } from "../../lib/interruption.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { exitCodeOfCheck, renderCheck } from "../../lib/pool/findings.ts";
import { Progress } from "../../lib/progress.ts";

export default class PoolCheck extends PoolCommand {
  static override summary = "Look for damage, orphans, lost records and leftovers; change nothing.";
  static override description =
    "Needs root and thin_check, and no process that has the pool open. Exits 8 where something is found, each with what to do; 1 where its health is not known.";
  static override flags = {
    mappings: Flags.boolean({
      summary: "Read all mappings too, to find blocks past a device's size; slow for a large pool.",
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolCheck);
    const { folder, mappings } = flags;
    const { checkPool } = await import("@thinpool/thinpool");
    const cancelled = { name: "check", object: folder, left: "Nothing was changed." };
    const report = await this.withKernel((kernel) =>
      interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "checking", silent: this.jsonEnabled() });
        return await checkPool({ folder, kernel, mappings, signal });
      }),
    );
    this.log(renderCheck(report));
    process.exitCode = exitCodeOfCheck(report);
    return report;
  }
}
