import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { views } from "../../lib/views.ts";

const view = views["pool status"];

export default class PoolStatus extends DaemonCommand {
  static override summary =
    "Show the state of the daemon's pool, how full it is, and when it will be.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(PoolStatus);
    const answer = await this.withClient(flags, view.ask);
    this.log(view.render(answer, flags));
    return answer;
  }
}
