import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { imagesOf, renderImages } from "../../lib/image.ts";

export default class ImageList extends DaemonCommand {
  static override summary = "List the images: devices of root's that others may clone.";
  static override flags = { bytes: bytesFlag };

  async run() {
    const { flags } = await this.parse(ImageList);
    const images = imagesOf(await this.withClient(flags, (client) => client.list()));
    this.log(renderImages(images, flags));
    return images;
  }
}
