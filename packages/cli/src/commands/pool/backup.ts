import { Flags } from "@oclif/core";
import { bytesFlag, dryRunFlag } from "../../lib/flags.ts";
import { interruptible } from "../../lib/interruption.ts";
import { PoolAccessCommand } from "../../lib/pool/pool-access.ts";
import { renderBackups } from "../../lib/pool/records.ts";
import { Progress } from "../../lib/progress.ts";

/** As the protocol has it. */
const MAX_BACKUPS = 1000;

export default class PoolBackup extends PoolAccessCommand {
  static override summary = "Back up the pool's metadata and records, or list the backups.";
  static override description =
    "Into the folder backups of the pool's folder. It saves which blocks belong to which device, not the blocks. Only administrators may; it needs thin_dump.";
  static override flags = {
    bytes: bytesFlag,
    "dry-run": dryRunFlag,
    keep: Flags.integer({
      summary: "How many are kept, this one included; without it 8.",
      min: 1,
      max: MAX_BACKUPS,
    }),
    list: Flags.boolean({ summary: "Make none; list those there are, the newest first." }),
  };

  async run() {
    const { flags } = await this.parse(PoolBackup);
    const { keep } = flags;
    return await this.withPoolAccess(flags, async (pool) => {
      if (flags.list) {
        const backups = await pool.backups();
        this.log(renderBackups(backups, flags));
        return backups;
      }
      if (flags["dry-run"]) {
        const { length } = await pool.backups();
        return this.planned(`back up the pool's metadata and records, beside ${length} others`);
      }
      const left =
        "Those before are there, and this one if it was done by then; `thinpool pool backup --list` shows them.";
      const cancelled = { name: "backup", object: "the pool", left };
      const backup = await interruptible(cancelled, async (signal) => {
        using _progress = new Progress({ label: "backing up", silent: this.jsonEnabled() });
        return await pool.backup({ keep, signal });
      });
      this.log(backup.name);
      return backup;
    });
  }
}
