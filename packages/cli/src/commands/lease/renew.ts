import { referenceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { formatDuration } from "../../lib/duration.ts";
import { dryRunFlag, durationFlag } from "../../lib/flags.ts";
import { leasesOf } from "../../lib/lease.ts";
import { referenceMeant } from "../../lib/mount.ts";

export default class LeaseRenew extends DaemonCommand {
  static override summary = "Begin the time of a lease anew.";
  static override args = { what: referenceArg };
  static override flags = {
    "dry-run": dryRunFlag,
    for: durationFlag({ summary: "Its length from now on; without it as long as before." }),
  };

  async run() {
    const { args, flags } = await this.parse(LeaseRenew);
    return await this.withClient(flags, async (client) => {
      const mounts = async () => leasesOf(await client.mounts());
      const leases = { mounts, rights: client.rights };
      const reference = await referenceMeant({ operation: "lease renew", ...args }, leases);
      if (flags["dry-run"]) return this.planned(`renew lease ${reference}`);
      const ttlMs = flags.for;
      const lease = await client.renew({ reference, ...(ttlMs === undefined ? {} : { ttlMs }) });
      this.log(`${lease.device}: ends in ${formatDuration(lease.leaseLeftMs ?? 0)}`);
      return lease;
    });
  }
}
