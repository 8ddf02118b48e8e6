import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { dryRunFlag, yesFlag } from "../../lib/flags.ts";

export default class DeviceRemove extends DaemonCommand {
  static override summary = "Delete a device and what only it holds.";
  static override description =
    "On a terminal it asks first. A device that is mounted or open is not removed, and nothing changes.";
  static override args = { device: deviceArg };
  static override flags = { "dry-run": dryRunFlag, yes: yesFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceRemove);
    return await this.withClient(flags, async (client) => {
      const device = await client.get({ name: args.device });
      if (flags["dry-run"]) return this.planned(`remove device ${describeDevice(device)}`);
      if (!flags.yes && !this.jsonEnabled()) {
        const { confirm } = await import("../../lib/confirm.ts");
        await confirm(`Delete device ${describeDevice(device)} with all that only it holds?`);
      }
      await client.remove({ name: device.name });
      this.log(device.name);
      return { removed: device.name };
    });
  }
}
