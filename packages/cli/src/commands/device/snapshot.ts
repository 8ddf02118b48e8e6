import { Args } from "@oclif/core";
import { DaemonCommand } from "../../lib/daemon-command.ts";

export default class DeviceSnapshot extends DaemonCommand {
  static override summary =
    "Make a device that shares all blocks with another until one is changed.";
  static override examples = ["<%= config.bin %> <%= command.id %> base clone-1"];
  static override args = {
    origin: Args.string({ description: "The device to start from.", required: true }),
    name: Args.string({ description: "Name of the new device.", required: true }),
  };

  async run() {
    const { args, flags } = await this.parse(DeviceSnapshot);
    const { device } = await this.withClient(flags.socket, (client) =>
      client.clone({ origin: args.origin, name: args.name }),
    );
    this.log(device.name);
    return device;
  }
}
