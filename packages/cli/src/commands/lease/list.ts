import { DaemonCommand } from "../../lib/daemon-command.ts";
import { leasesOf, renderLeases } from "../../lib/lease.ts";

export default class LeaseList extends DaemonCommand {
  static override summary = "List the mounts that end by themselves, the soonest first.";

  async run() {
    const { flags } = await this.parse(LeaseList);
    const leases = leasesOf(await this.withClient(flags, (client) => client.mounts()));
    this.log(renderLeases(leases));
    return leases;
  }
}
