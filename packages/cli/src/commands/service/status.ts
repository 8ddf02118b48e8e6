import { BaseCommand } from "../../lib/base-command.ts";
import { rootFlag } from "../../lib/service-flags.ts";
import { renderFields } from "../../lib/table.ts";

export default class ServiceStatus extends BaseCommand {
  static override summary = "Say whether the daemon is a service here, and whether it runs.";
  static override flags = { root: rootFlag };

  async run() {
    const { flags } = await this.parse(ServiceStatus);
    const { serviceStatus } = await import("@thinpool/mount-helper");
    const status = await serviceStatus({ root: flags.root });
    const { installed, service, socket } = status;
    this.log(
      renderFields([
        ["installed", installed ? "yes" : "no"],
        ["service", service ?? "unknown: systemd does not run here"],
        ["socket", socket ?? "unknown: systemd does not run here"],
      ]),
    );
    return status;
  }
}
