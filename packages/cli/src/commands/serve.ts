import { Flags } from "@oclif/core";
import { BaseCommand } from "../lib/base-command.ts";
import { folderFlag, socketFlag } from "../lib/flags.ts";
import { stopSignal } from "../lib/stop-signal.ts";

export default class Serve extends BaseCommand {
  static override summary = "Run the daemon, thinpoold, in the foreground until SIGTERM or SIGINT.";
  static override description =
    "Needs root. Mounts and their references outlive it: the next start knows them again.";
  // It has no result to print: what it says goes to stderr.
  static override enableJsonFlag = false;
  static override flags = {
    folder: folderFlag,
    socket: socketFlag,
    "socket-group": Flags.string({
      summary:
        "Group whose members may connect; without it everyone may, each with their own rights.",
      helpValue: "GROUP",
    }),
  };

  async run() {
    const { flags } = await this.parse(Serve);
    const { startDaemon } = await import("@thinpool/mount-helper");
    const socketGroup = flags["socket-group"];
    const daemon = await startDaemon({
      folder: flags.folder,
      socketPath: flags.socket,
      ...(socketGroup === undefined ? {} : { socketGroup }),
    });
    this.logToStderr(`thinpoold: listening on ${flags.socket}`);
    await stopSignal();
    this.logToStderr("thinpoold: stopping");
    await daemon.close();
  }
}
