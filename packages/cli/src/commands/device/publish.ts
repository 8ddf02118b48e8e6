import { Flags } from "@oclif/core";
import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";

export default class DevicePublish extends DaemonCommand {
  static override summary = "Make a device of root's an image that others may clone.";
  static override description =
    "Who may clone public images, the policy says; without a policy file all who may connect.";
  static override args = { device: deviceArg };
  static override flags = {
    private: Flags.boolean({ summary: "Take it back; clones that are there stay." }),
  };

  async run() {
    const { args, flags } = await this.parse(DevicePublish);
    const device = await this.withClient(flags, (client) =>
      client.rights.publish({ name: args.device, public: !flags.private }),
    );
    this.log(`${device.name} is ${device.public === true ? "public" : "private"}`);
    return device;
  }
}
