import { BaseCommand } from "../../lib/base-command.ts";
import { dryRunFlag, yesFlag } from "../../lib/flags.ts";
import { rootFlag, withMachineFiles } from "../../lib/service-flags.ts";

export default class ServiceUninstall extends BaseCommand {
  static override summary = "Stop the service and remove its files.";
  static override description =
    "The pool, mounts that are there, the policy and the group stay. On a terminal it asks first. Needs root.";
  static override flags = { "dry-run": dryRunFlag, yes: yesFlag, root: rootFlag };

  async run() {
    const { flags } = await this.parse(ServiceUninstall);
    const place = { root: flags.root };
    const { uninstallService } = await import("@thinpool/mount-helper");
    if (flags["dry-run"]) {
      return this.planned(`stop thinpoold and remove its units below ${flags.root}`);
    }
    if (!flags.yes && !this.jsonEnabled()) {
      const { confirm } = await import("../../lib/confirm.ts");
      await confirm("Stop thinpoold and remove its units? The pool and its mounts stay.");
    }
    const removed = await withMachineFiles("service uninstall", flags.root, () =>
      uninstallService(place),
    );
    for (const path of removed) this.log(path);
    if (removed.length === 0 && !this.jsonEnabled()) this.logToStderr("It was not installed.");
    return { removed };
  }
}
