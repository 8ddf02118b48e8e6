import { Args, Flags } from "@oclif/core";
import { CommandError } from "../../lib/errors.ts";
import { alwaysDirectFlag, dryRunFlag, yesFlag } from "../../lib/flags.ts";
import { interruptible } from "../../lib/interruption.ts";
import { withKernel } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { Progress } from "../../lib/progress.ts";

export default class PoolRestore extends PoolCommand {
  static override summary = "Put a backup of the pool's metadata and records back.";
  static override description =
    "Devices made since are gone, and blocks freed since may hold something else: check every filesystem afterwards. What was there before is kept. It asks first; where nobody can answer it takes --yes. Needs root and thin-provisioning-tools, and the pool to be down.";
  static override args = {
    backup: Args.string({
      description: "Its name, as `pool backup --list` shows it; without it the newest.",
    }),
  };
  static override flags = {
    direct: alwaysDirectFlag,
    "dry-run": dryRunFlag,
    yes: yesFlag,
    "spare-device": Flags.string({
      summary: "Of a pool on block devices: the device that takes the metadata's place.",
      helpValue: "PATH",
    }),
  };

  async run() {
    const { args, flags } = await this.parse(PoolRestore);
    const { folder, "spare-device": spareDevice } = flags;
    const { listBackups, restorePool } = await import("@thinpool/thinpool");
    const backups = await listBackups({ folder });
    const backup =
      args.backup === undefined ? backups[0] : backups.find(({ name }) => name === args.backup);
    if (backup === undefined) {
      throw new CommandError({
        code: "NO_BACKUP",
        operation: "restore",
        object: args.backup ?? folder,
        reason: "the pool has no such backup",
        hint: "`thinpool pool backup --list --direct` shows which there are.",
      });
    }
    const what = `backup ${backup.name} (transaction ${backup.transactionId})`;
    if (flags["dry-run"]) return this.planned(`restore ${what}, keeping what is there now`);
    await this.confirmLoss(
      `Put ${what} back, and give up all devices of ${folder} made since ${new Date(backup.atMs).toISOString()}?`,
      flags.yes,
    );
    const left = "The pool is as it was; a spare may be left, which the next restore uses.";
    const cancelled = { name: "restore", object: folder, left };
    const restored = await withKernel((kernel) =>
      interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "restoring", silent: this.jsonEnabled() });
        const spare = spareDevice === undefined ? {} : { spareDevice };
        return await restorePool({ folder, kernel, backup: backup.name, ...spare, signal });
      }),
    );
    this.log(`${restored.backup}: transaction ${restored.transactionId}`);
    this.log(`kept: ${restored.keptMetadataPath}`);
    this.log(`kept: ${restored.keptLedgerPath}`);
    return restored;
  }
}
