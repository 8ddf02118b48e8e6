import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { renderDevice } from "../../lib/device.ts";
import { bytesFlag } from "../../lib/flags.ts";

export default class DeviceShow extends DaemonCommand {
  static override summary = "Show all that is known of one device.";
  static override args = { device: deviceArg };
  static override flags = { bytes: bytesFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceShow);
    const device = await this.withClient(flags, (client) => client.get({ name: args.device }));
    this.log(renderDevice(device, flags));
    return device;
  }
}
