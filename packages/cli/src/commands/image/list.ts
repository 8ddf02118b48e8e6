import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { views } from "../../lib/views.ts";

const view = views["image list"];

export default class ImageList extends DaemonCommand {
  static override summary = "List the images: devices of root's that others may clone.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(ImageList);
    const answer = await this.withClient(flags, view.ask);
    this.log(view.render(answer, flags));
    return answer;
  }
}
