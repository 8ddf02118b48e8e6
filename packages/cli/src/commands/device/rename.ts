import { deviceArg, newNameArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree, describeDevice } from "../../lib/device.ts";
import { dryRunFlag } from "../../lib/flags.ts";

export default class DeviceRename extends DaemonCommand {
  static override summary = "Give a device another name.";
  static override description = "A device that is mounted keeps its name, and nothing changes.";
  static override args = { device: deviceArg, name: newNameArg };
  static override flags = { "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceRename);
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const device = await client.get({ name: args.device });
        assertNameFree(await client.list(), args.name);
        return this.planned(`rename ${describeDevice(device)} to ${args.name}`);
      }
      const device = await client.devices.rename({ name: args.device, to: args.name });
      this.log(device.name);
      return device;
    });
  }
}
