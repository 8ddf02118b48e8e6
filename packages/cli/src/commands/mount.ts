import { deviceArg } from "../lib/args.ts";
import { DaemonCommand } from "../lib/daemon-command.ts";
import { describeDevice } from "../lib/device.ts";
import { dryRunFlag } from "../lib/flags.ts";

/** This program ends at once, so its session can't hold the mount. */
const USER_LEASE = { type: "lease", ttlMs: 24 * 60 * 60 * 1000 } as const;

export default class Mount extends DaemonCommand {
  static override summary = "Mount a device and print where.";
  static override description =
    "Each mount is a reference: the device stays mounted until the last one is released by `umount`. Root's are permanent and come back after a reboot; a user's end by themselves after a day.";
  static override args = { device: deviceArg };

  static override flags = { "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(Mount);
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        return this.planned(`mount ${describeDevice(await client.get({ name: args.device }))}`);
      }
      const { reference, device, path } = await client.mount({
        device: args.device,
        holder: process.geteuid?.() === 0 ? { type: "permanent" } : USER_LEASE,
      });
      this.log(path);
      return { reference, device, path };
    });
  }
}
