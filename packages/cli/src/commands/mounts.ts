import { DaemonCommand } from "../lib/daemon-command.ts";
import { renderMounts } from "../lib/mount.ts";

export default class Mounts extends DaemonCommand {
  static override summary = "List the references to mounted devices.";

  async run() {
    const { flags } = await this.parse(Mounts);
    const mounts = await this.withClient(flags, (client) => client.mounts());
    this.log(renderMounts(mounts));
    return mounts;
  }
}
