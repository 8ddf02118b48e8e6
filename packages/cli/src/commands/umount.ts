import { referenceArg } from "../lib/args.ts";
import { DaemonCommand } from "../lib/daemon-command.ts";
import { dryRunFlag } from "../lib/flags.ts";
import { referenceMeant, renderRelease } from "../lib/mount.ts";

export default class Umount extends DaemonCommand {
  static override summary = "Release one reference to a mounted device.";
  static override description =
    "With the last reference the device is unmounted and deactivated. Given a device's name, the last of your own references to it is released.";
  static override args = { what: referenceArg };
  static override flags = { "dry-run": dryRunFlag };
  protected readonly operation: string = "umount";
  /** What the last release does to the device. */
  protected readonly ended: string = "unmounted";

  async run() {
    const { args, flags } = await this.parse(Umount);
    return await this.withClient(flags, async (client) => {
      const reference = await referenceMeant({ operation: this.operation, ...args }, client);
      if (flags["dry-run"]) return this.planned(`release reference ${reference}`);
      const { device, count } = await client.release({ reference });
      this.log(renderRelease({ device, count }, this.ended));
      return { reference, device, count };
    });
  }
}
