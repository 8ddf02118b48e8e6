import { Flags } from "@oclif/core";
import { BaseCommand } from "../lib/base-command.ts";
import { CommandError } from "../lib/errors.ts";
import { runInForeground } from "../lib/foreground.ts";

const JOURNALCTL = "/usr/bin/journalctl";
const MAX_LINES = 1_000_000;

export default class Logs extends BaseCommand {
  static override summary = "Show the daemon's log: the journal of its service.";
  static override description =
    "Each line is one event as JSON. A daemon that is no service of systemd logs to its stderr, wherever whoever started it has sent that.";
  static override examples = ["<%= config.bin %> <%= command.id %> --follow"];
  static override enableJsonFlag = false;
  static override flags = {
    follow: Flags.boolean({ char: "f", summary: "Go on as it is written, until Ctrl-C." }),
    lines: Flags.integer({
      summary: "How many of the last lines.",
      default: 100,
      min: 1,
      max: MAX_LINES,
    }),
  };

  async run() {
    const { flags } = await this.parse(Logs);
    const { serviceStatus, SERVICE_UNIT } = await import("@thinpool/mount-helper");
    const { installed, service } = await serviceStatus();
    if (!installed || service === undefined) {
      throw new CommandError({
        code: "NO_JOURNAL",
        operation: "logs",
        object: SERVICE_UNIT,
        reason: service === undefined ? "systemd does not run here" : "it is not installed",
        hint: "The log is on the stderr of `thinpool serve` or thinpoold: look where that was sent.",
      });
    }
    const lines = ["--lines", String(flags.lines), ...(flags.follow ? ["--follow"] : [])];
    process.exitCode = await runInForeground(JOURNALCTL, [
      "--unit",
      SERVICE_UNIT,
      "--output",
      "cat",
      ...lines,
    ]);
  }
}
