import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { renderPoolStatus } from "../../lib/pool.ts";

export default class PoolStatus extends DaemonCommand {
  static override summary = "Show the state of the daemon's pool and how full it is.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(PoolStatus);
    const status = await this.withClient(flags, (client) => client.status());
    this.log(renderPoolStatus(status, flags));
    return status;
  }
}
