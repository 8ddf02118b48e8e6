import { deviceArg } from "../lib/args.ts";
import { DaemonCommand } from "../lib/daemon-command.ts";

export default class Mount extends DaemonCommand {
  static override summary = "Mount a device and print where.";
  static override description =
    "Each mount is a reference: the device stays mounted until the last one is released by `umount`.";
  static override args = { device: deviceArg };

  async run() {
    const { args, flags } = await this.parse(Mount);
    return await this.withClient(flags.socket, async (client) => {
      const { reference, device, path } = await client.mount({ device: args.device });
      this.log(path);
      return { reference, device, path };
    });
  }
}
