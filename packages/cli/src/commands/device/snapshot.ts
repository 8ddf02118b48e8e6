import { newNameArg, originArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";

export default class DeviceSnapshot extends DaemonCommand {
  static override summary =
    "Make a device that shares all blocks with another until one is changed.";
  static override examples = ["<%= config.bin %> <%= command.id %> base clone-1"];
  static override args = { origin: originArg, name: newNameArg };

  async run() {
    const { args, flags } = await this.parse(DeviceSnapshot);
    const { device } = await this.withClient(flags.socket, (client) =>
      client.clone({ origin: args.origin, name: args.name }),
    );
    this.log(device.name);
    return device;
  }
}
