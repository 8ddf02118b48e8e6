import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { views } from "../../lib/views.ts";

const view = views["device tree"];

export default class DeviceTree extends DaemonCommand {
  static override summary = "Draw which device was made from which.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(DeviceTree);
    const answer = await this.withClient(flags, view.ask);
    this.log(view.render(answer, flags));
    return answer;
  }
}
