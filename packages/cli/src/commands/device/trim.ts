import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { bytesFlag, dryRunFlag } from "../../lib/flags.ts";
import { formatSize } from "../../lib/size.ts";

export default class DeviceTrim extends DaemonCommand {
  static override summary =
    "Give back to the pool what the filesystem of a mounted device does not use.";
  static override examples = ["<%= config.bin %> <%= command.id %> mine"];
  static override args = { device: deviceArg };
  static override flags = { bytes: bytesFlag, "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceTrim);
    return await this.withClient(flags, async (client) => {
      const { device: name } = args;
      if (flags["dry-run"]) {
        return this.planned(`trim ${describeDevice(await client.get({ name }))}`);
      }
      const trimmedBytes = await client.devices.trim({ name });
      const size = flags.bytes ? String(trimmedBytes) : formatSize(trimmedBytes);
      this.log(`${name}: ${size} not in use, given back`);
      return { trimmedBytes };
    });
  }
}
