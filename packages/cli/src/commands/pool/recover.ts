import { Flags } from "@oclif/core";
import { alwaysDirectFlag } from "../../lib/flags.ts";
import { withKernel, withPool } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { renderDecisions, renderJournal } from "../../lib/pool/records.ts";

export default class PoolRecover extends PoolCommand {
  static override summary = "Settle what a crash left of the pool, or say how it would be.";
  static override description =
    "Opens the pool, which settles it, and takes it down again unless a device of it is active. A daemon that starts does the same: this is for looking. Needs root.";
  static override flags = {
    direct: alwaysDirectFlag,
    plan: Flags.boolean({
      summary: "Only say what would be done, and what earlier recoveries did; change nothing.",
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolRecover);
    const { folder } = flags;
    const { planRecovery, readClosedPool } = await import("@thinpool/thinpool");
    return await withKernel(async (kernel) => {
      const { journal } = await readClosedPool({ folder, kernel });
      if (!flags.plan) {
        const before = journal.at(-1)?.number ?? 0;
        const done = await withPool(folder, async (pool) =>
          pool.recoveryJournal().filter(({ number }) => number > before),
        );
        this.log(done.length === 0 ? "All was in order." : renderJournal(done));
        return { done };
      }
      const plan = await planRecovery({ folder, kernel });
      this.log(renderDecisions(plan.decisions));
      if (journal.length > 0) this.log(`\n${renderJournal(journal)}`);
      return { ...plan, journal };
    });
  }
}
