import { referenceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { dryRunFlag } from "../../lib/flags.ts";
import { leasesOf } from "../../lib/lease.ts";
import { referenceMeant, renderRelease } from "../../lib/mount.ts";

export default class LeaseRelease extends DaemonCommand {
  static override summary = "End a lease now.";
  static override description =
    "With the last reference the device is unmounted. Given a device's name, the last of your own leases of it ends.";
  static override args = { what: referenceArg };
  static override flags = { "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(LeaseRelease);
    return await this.withClient(flags, async (client) => {
      const mounts = async () => leasesOf(await client.mounts());
      const leases = { mounts, rights: client.rights };
      const reference = await referenceMeant({ operation: "lease release", ...args }, leases);
      if (flags["dry-run"]) return this.planned(`end lease ${reference}`);
      const { device, count } = await client.release({ reference });
      this.log(renderRelease({ device, count }, "unmounted"));
      return { reference, device, count };
    });
  }
}
