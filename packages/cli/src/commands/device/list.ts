import { DaemonCommand } from "../../lib/daemon-command.ts";
import { renderDevices } from "../../lib/device.ts";
import { bytesFlag } from "../../lib/flags.ts";

export default class DeviceList extends DaemonCommand {
  static override summary = "List the devices of the pool.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(DeviceList);
    const devices = await this.withClient(flags, (client) => client.list());
    this.log(renderDevices(devices, flags));
    return devices;
  }
}
