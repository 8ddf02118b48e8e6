import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { views } from "../../lib/views.ts";

const view = views["device list"];

export default class DeviceList extends DaemonCommand {
  static override summary = "List the devices of the pool.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(DeviceList);
    const answer = await this.withClient(flags, view.ask);
    this.log(view.render(answer, flags));
    return answer;
  }
}
