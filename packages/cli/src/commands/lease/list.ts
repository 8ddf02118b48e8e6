import { DaemonCommand } from "../../lib/daemon-command.ts";
import { views } from "../../lib/views.ts";

const view = views["lease list"];

export default class LeaseList extends DaemonCommand {
  static override summary = "List the mounts that end by themselves, the soonest first.";

  async run() {
    const { flags } = await this.parse(LeaseList);
    const answer = await this.withClient(flags, view.ask);
    this.log(view.render(answer, { bytes: false }));
    return answer;
  }
}
