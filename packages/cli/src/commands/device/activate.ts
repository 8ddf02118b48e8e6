import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { dryRunFlag } from "../../lib/flags.ts";
import { activateFlags, holderMeant } from "../../lib/mount-flags.ts";

export default class DeviceActivate extends DaemonCommand {
  static override summary = "Make a device a block device of your own and print its path.";
  static override description =
    "For a virtual machine's disk. It is a reference as a mount is: the block device is there until the last one is released by `device deactivate`. Root's are permanent and come back after a reboot; a user's end by themselves after a day. Users need `mount.blockDevices` in the policy.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> vm-1",
    "<%= config.bin %> <%= command.id %> vm-1 --lease 2h --read-only",
  ];
  static override args = { device: deviceArg };
  static override flags = { "dry-run": dryRunFlag, ...activateFlags };

  async run() {
    const { args, flags } = await this.parse(DeviceActivate);
    return await this.withClient(flags, async (client) => {
      const name = args.device;
      if (flags["dry-run"]) {
        return this.planned(`activate ${describeDevice(await client.get({ name }))}`);
      }
      const { reference, device, path } = await client.activate({
        device: name,
        holder: await holderMeant(flags, client),
        readOnly: flags["read-only"],
      });
      this.log(path);
      return { reference, device, path };
    });
  }
}
