import { Flags } from "@oclif/core";
import { interruptible } from "../../lib/interruption.ts";
import { exitCodeOfCheck, renderCheck } from "../../lib/pool/findings.ts";
import { PoolAccessCommand } from "../../lib/pool/pool-access.ts";
import { Progress } from "../../lib/progress.ts";

export default class PoolCheck extends PoolAccessCommand {
  static override summary = "Look for damage, orphans, lost records and leftovers; change nothing.";
  static override description =
    "While the daemon's pool works, or with --direct in a closed one, also where that can't be opened. Only administrators may; it needs thin_check. Exits 8 where something is found, each with what to do; 1 where its health is not known.";
  static override examples = [
    "<%= config.bin %> <%= command.id %>",
    "<%= config.bin %> <%= command.id %> --direct --mappings",
  ];
  static override flags = {
    mappings: Flags.boolean({
      summary: "Read all mappings too, to find blocks past a device's size; slow for a large pool.",
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolCheck);
    const { mappings } = flags;
    const cancelled = { name: "check", object: "the pool", left: "Nothing was changed." };
    const report = await this.withPoolAccess(flags, (pool) =>
      interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "checking", silent: this.jsonEnabled() });
        return await pool.check({ mappings, signal });
      }),
    );
    this.log(renderCheck(report));
    process.exitCode = exitCodeOfCheck(report);
    return report;
  }
}
