import { deviceArg, newSizeArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { bytesFlag, dryRunFlag } from "../../lib/flags.ts";
import { formatSize } from "../../lib/size.ts";

const FILESYSTEM = {
  grown: "and its filesystem with it",
  none: "and its filesystem had that size already",
  later: "its filesystem grows when it is mounted and this is run again",
} as const;

export default class DeviceResize extends DaemonCommand {
  static override summary = "Grow a device and its filesystem, mounted or not.";
  static override description =
    "Devices only grow. Again with the same size it goes on with what was interrupted.";
  static override examples = ["<%= config.bin %> <%= command.id %> mine 20GiB"];
  static override args = { device: deviceArg, size: newSizeArg };
  static override flags = { bytes: bytesFlag, "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceResize);
    const show = (size: bigint): string => (flags.bytes ? String(size) : formatSize(size));
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const device = await client.get({ name: args.device });
        return this.planned(`grow ${describeDevice(device)} to ${show(args.size)}`);
      }
      const resized = await client.devices.resize({ name: args.device, sizeBytes: args.size });
      const { device, filesystem } = resized;
      const said = device.filesystem === "none" ? "it has no filesystem" : FILESYSTEM[filesystem];
      this.log(`${device.name}: ${show(device.sizeBytes)}, ${said}`);
      return resized;
    });
  }
}
