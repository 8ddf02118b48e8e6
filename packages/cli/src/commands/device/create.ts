import { Flags } from "@oclif/core";
import { newNameArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree } from "../../lib/device.ts";
import { dryRunFlag, onBehalfOfFlag, sizeFlag } from "../../lib/flags.ts";
import { formatSize } from "../../lib/size.ts";

export default class DeviceCreate extends DaemonCommand {
  static override summary = "Make an empty device.";
  static override examples = ["<%= config.bin %> <%= command.id %> base --size 10GiB"];
  static override args = { name: newNameArg };
  static override flags = {
    "dry-run": dryRunFlag,
    size: sizeFlag({ summary: "Its size; without it the daemon's default, 10 GiB." }),
    filesystem: Flags.option({
      summary: "The filesystem made on it; without it ext4.",
      options: ["ext4", "xfs", "none"] as const,
    })(),
    "on-behalf-of": onBehalfOfFlag,
  };

  async run() {
    const { args, flags } = await this.parse(DeviceCreate);
    const { "on-behalf-of": onBehalfOf } = flags;
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        assertNameFree(await client.list(), args.name);
        const size = flags.size === undefined ? "the default size" : formatSize(flags.size);
        const filesystem = flags.filesystem ?? "ext4";
        return this.planned(`create device ${args.name} (${size}, ${filesystem})`);
      }
      const device = await client.create({
        name: args.name,
        ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
        ...(flags.filesystem === undefined ? {} : { filesystem: flags.filesystem }),
        ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
      });
      this.log(device.name);
      return device;
    });
  }
}
