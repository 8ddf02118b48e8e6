import { Flags } from "@oclif/core";
import { DaemonCommand } from "../lib/daemon-command.ts";
import { UsageError } from "../lib/errors.ts";

const MIN_SECONDS = 1;
const MAX_SECONDS = 3600;

export default class Top extends DaemonCommand {
  static override summary = "Watch the pool, live, on the whole screen.";
  static override description =
    "Space, devices by what is read and written, mounts. Keys: q quits, s sorts by something else, / filters by name.";
  // It is for people; `pool status`, `device list` and `mounts` have the same as JSON.
  static override enableJsonFlag = false;
  static override flags = {
    interval: Flags.integer({
      summary: "Seconds between two looks.",
      default: 2,
      min: MIN_SECONDS,
      max: MAX_SECONDS,
    }),
  };

  async run() {
    const { flags } = await this.parse(Top);
    const { stdin, stdout } = process;
    if (!stdin.isTTY || !stdout.isTTY) {
      throw new UsageError({
        reason: "top needs a terminal",
        hint: "Use `thinpool pool status` and `thinpool device list` in scripts.",
      });
    }
    const { runTop } = await import("../lib/top/run.ts");
    await this.withClient(flags, (client) =>
      runTop({ client, intervalMs: flags.interval * 1000, stdin, stdout }),
    );
  }
}
