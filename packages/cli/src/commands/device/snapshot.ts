import { newNameArg, originArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree, describeDevice } from "../../lib/device.ts";
import { dryRunFlag } from "../../lib/flags.ts";

export default class DeviceSnapshot extends DaemonCommand {
  static override summary =
    "Make a device that shares all blocks with another until one is changed.";
  static override examples = ["<%= config.bin %> <%= command.id %> base clone-1"];
  static override args = { origin: originArg, name: newNameArg };

  static override flags = { "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceSnapshot);
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const origin = await client.get({ name: args.origin });
        assertNameFree(await client.list(), args.name);
        return this.planned(`make ${args.name} from ${describeDevice(origin)}`);
      }
      const { device } = await client.clone({ origin: args.origin, name: args.name });
      this.log(device.name);
      return device;
    });
  }
}
