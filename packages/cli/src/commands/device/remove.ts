import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { dryRunFlag, onBehalfOfFlag, yesFlag } from "../../lib/flags.ts";

export default class DeviceRemove extends DaemonCommand {
  static override summary = "Delete a device and what only it holds.";
  static override description =
    "On a terminal it asks first. A device that is mounted or open is not removed, and nothing changes.";
  static override args = { device: deviceArg };
  static override flags = {
    "dry-run": dryRunFlag,
    yes: yesFlag,
    "on-behalf-of": onBehalfOfFlag,
  };

  async run() {
    const { args, flags } = await this.parse(DeviceRemove);
    const { "on-behalf-of": onBehalfOf } = flags;
    return await this.withClient(flags, async (client) => {
      const name = args.device;
      // Who acts for another need not see what is his.
      const what =
        onBehalfOf === undefined
          ? describeDevice(await client.get({ name }))
          : `${name} of user ${onBehalfOf}`;
      if (flags["dry-run"]) return this.planned(`remove device ${what}`);
      if (!flags.yes && !this.jsonEnabled()) {
        const { confirm } = await import("../../lib/confirm.ts");
        await confirm(`Delete device ${what} with all that only it holds?`);
      }
      await client.remove({ name, onBehalfOf });
      this.log(name);
      return { removed: name };
    });
  }
}
