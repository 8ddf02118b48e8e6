import { Args } from "@oclif/core";
import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { dryRunFlag, yesFlag } from "../../lib/flags.ts";

export default class DeviceRevert extends DaemonCommand {
  static override summary = "Give a device the content of a snapshot of it.";
  static override description =
    "What was written to it since is gone; the snapshot stays. On a terminal it asks first. A device that is mounted is not reverted, and nothing changes.";
  static override args = {
    device: deviceArg,
    snapshot: Args.string({ description: "The snapshot to go back to.", required: true }),
  };
  static override flags = { "dry-run": dryRunFlag, yes: yesFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceRevert);
    const { snapshot } = args;
    return await this.withClient(flags, async (client) => {
      const device = await client.get({ name: args.device });
      if (flags["dry-run"]) {
        const { name } = await client.get({ name: snapshot });
        return this.planned(`revert ${describeDevice(device)} to ${name}`);
      }
      if (!flags.yes && !this.jsonEnabled()) {
        const { confirm } = await import("../../lib/confirm.ts");
        await confirm(
          `Throw away what was written to ${describeDevice(device)} since ${snapshot} was made?`,
        );
      }
      const reverted = await client.devices.revert({ name: device.name, snapshot });
      this.log(reverted.name);
      return reverted;
    });
  }
}
