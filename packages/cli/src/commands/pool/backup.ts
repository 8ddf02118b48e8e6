import { Flags } from "@oclif/core";
import { bytesFlag, dryRunFlag } from "../../lib/flags.ts";
import { interruptible } from "../../lib/interruption.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { renderBackups } from "../../lib/pool/records.ts";
import { Progress } from "../../lib/progress.ts";

export default class PoolBackup extends PoolCommand {
  static override summary = "Back up the pool's metadata and records, or list the backups.";
  static override description =
    "Into the folder backups of the pool's folder. It saves which blocks belong to which device, not the blocks. Needs root and thin_dump, and no process that has the pool open.";
  static override flags = {
    bytes: bytesFlag,
    "dry-run": dryRunFlag,
    keep: Flags.integer({ summary: "How many are kept, this one included; without it 8." }),
    list: Flags.boolean({ summary: "Make none; list those there are, the newest first." }),
  };

  async run() {
    const { flags } = await this.parse(PoolBackup);
    const { folder, keep } = flags;
    const { listBackups } = await import("@thinpool/thinpool");
    if (flags.list) {
      const backups = await listBackups({ folder });
      this.log(renderBackups(backups, flags));
      return backups;
    }
    if (flags["dry-run"]) {
      const { length } = await listBackups({ folder });
      return this.planned(`back up the metadata of the pool in ${folder}, beside ${length} others`);
    }
    const left = "No backup was made; those before are there.";
    const cancelled = { name: "backup", object: folder, left };
    const backup = await this.withPool(folder, (pool) =>
      interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "backing up", silent: this.jsonEnabled() });
        return await pool.backup({ ...(keep === undefined ? {} : { keep }), signal });
      }),
    );
    this.log(backup.name);
    return backup;
  }
}
