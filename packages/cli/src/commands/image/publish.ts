import { Flags } from "@oclif/core";
import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { dryRunFlag } from "../../lib/flags.ts";
import { describeDevice } from "../../lib/device.ts";

export default class ImagePublish extends DaemonCommand {
  static override summary = "Make a device of root's an image, or with --private no longer.";
  static override description =
    "Who may clone public images, the policy says; without a policy file all who may connect.";
  static override args = { device: deviceArg };
  static override flags = {
    "dry-run": dryRunFlag,
    private: Flags.boolean({ summary: "Take it back; clones that are there stay." }),
  };

  async run() {
    const { args, flags } = await this.parse(ImagePublish);
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const device = await client.get({ name: args.device });
        const what = describeDevice(device);
        return this.planned(
          flags.private ? `let nobody but root clone ${what} any more` : `let others clone ${what}`,
        );
      }
      const { private: isPrivate } = flags;
      const device = await client.rights.publish({ name: args.device, public: !isPrivate });
      this.log(`${device.name} is ${device.public === true ? "public" : "private"}`);
      return device;
    });
  }
}
