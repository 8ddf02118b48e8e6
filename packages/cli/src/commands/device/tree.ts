import { DaemonCommand } from "../../lib/daemon-command.ts";
import { renderTree } from "../../lib/device.ts";
import { bytesFlag } from "../../lib/flags.ts";

export default class DeviceTree extends DaemonCommand {
  static override summary = "Draw which device was made from which.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(DeviceTree);
    const devices = await this.withClient(flags, (client) => client.list());
    this.log(renderTree(devices, flags));
    return devices;
  }
}
