import { DaemonCommand } from "../lib/daemon-command.ts";
import { views } from "../lib/views.ts";

const view = views.mounts;

export default class Mounts extends DaemonCommand {
  static override summary = "List the references to mounted devices.";

  async run() {
    const { flags } = await this.parse(Mounts);
    const answer = await this.withClient(flags, view.ask);
    this.log(view.render(answer, { bytes: false }));
    return answer;
  }
}
