import { Flags } from "@oclif/core";
import { alwaysDirectFlag, dryRunFlag, yesFlag } from "../../lib/flags.ts";
import { interruptible } from "../../lib/interruption.ts";
import { withKernel } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { Progress } from "../../lib/progress.ts";

export default class PoolRepair extends PoolCommand {
  static override summary = "Check the pool's metadata, and rebuild it where it is damaged.";
  static override description =
    "The rebuilt metadata is checked before it takes the place of the damaged one, which is kept. Where a device would be lost nothing is changed, unless --accept-loss. Check every filesystem in the pool afterwards. Needs root and thin-provisioning-tools, and the pool to be down.";
  static override flags = {
    direct: alwaysDirectFlag,
    "dry-run": dryRunFlag,
    yes: yesFlag,
    "accept-loss": Flags.boolean({
      summary: "Go on also where devices can't be saved; their data is lost.",
    }),
    "spare-device": Flags.string({
      summary: "Of a pool on block devices: the device that takes the metadata's place.",
      helpValue: "PATH",
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolRepair);
    const { folder, "accept-loss": acceptLoss, "spare-device": spareDevice } = flags;
    const { checkPool, repairPool } = await import("@thinpool/thinpool");
    return await withKernel(async (kernel) => {
      if (flags["dry-run"]) {
        const { metadata } = await checkPool({ folder, kernel });
        return this.planned(
          metadata === "damaged"
            ? `rebuild the metadata of the pool in ${folder}, keeping the damaged one`
            : `change nothing but the kernel's mark that a check is needed: the metadata is ${metadata}`,
        );
      }
      if (acceptLoss) {
        const question = `Give up what can't be saved of the pool in ${folder}?`;
        await this.confirmLoss(question, flags.yes);
      }
      const left = "The metadata is as it was; a spare may be left, which the next repair uses.";
      const cancelled = { name: "repair", object: folder, left };
      const result = await interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "repairing", silent: this.jsonEnabled() });
        const spare = spareDevice === undefined ? {} : { spareDevice };
        return await repairPool({ folder, kernel, acceptLoss, ...spare, signal });
      });
      if (result.outcome === "already-sound") {
        this.log("The metadata is sound.");
        return result;
      }
      this.log(`Repaired; the damaged metadata is kept at ${result.keptPath}.`);
      for (const name of result.lost) this.log(`lost: ${name}`);
      return result;
    });
  }
}
