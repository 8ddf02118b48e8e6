import { BaseCommand } from "../lib/base-command.ts";
import { exitCodes } from "../lib/exit-codes.ts";
import { folderFlag, socketFlag } from "../lib/flags.ts";

export default class Doctor extends BaseCommand {
  static override summary = "Say what this host has and lacks, each lack with what mends it.";
  static override description =
    "The exit code is 0 where the main job can run: the daemon answers, or a pool can be made and served here.";
  static override examples = ["<%= config.bin %> <%= command.id %>", "sudo thinpool doctor --json"];
  static override flags = { folder: folderFlag, socket: socketFlag };

  async run() {
    const { flags } = await this.parse(Doctor);
    const { examine } = await import("../lib/doctor/examine.ts");
    const { renderDiagnosis } = await import("../lib/doctor/render.ts");
    const diagnosis = await examine({ socketPath: flags.socket, folder: flags.folder });
    this.log(renderDiagnosis(diagnosis, process.stdout));
    if (!diagnosis.canUse && !diagnosis.canServe) process.exitCode = exitCodes.failed;
    return diagnosis;
  }
}
