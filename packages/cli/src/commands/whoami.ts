import { DaemonCommand } from "../lib/daemon-command.ts";

export default class WhoAmI extends DaemonCommand {
  static override summary = "Show who you are to the daemon, and what its policy lets you do.";

  async run() {
    const { flags } = await this.parse(WhoAmI);
    const self = await this.withClient(flags, (client) => client.rights.whoAmI());
    const { limits } = self;
    this.log(`uid     ${self.uid}`);
    this.log(`groups  ${[self.gid, ...self.groups.filter((gid) => gid !== self.gid)].join(" ")}`);
    this.log(`rules   ${self.uid === 0 ? "root" : self.rules.join(" ") || "none"}`);
    this.log(`create  ${self.create ? "yes" : "no"}`);
    this.log(`admin   ${self.admin ? "yes" : "no"}`);
    this.log(`connect ${self.connect === true ? "yes" : "no"}`);
    this.log(`limits  ${limits.devices} devices, ${limits.mounts} mounts, ${limits.leases} leases`);
    return self;
  }
}
