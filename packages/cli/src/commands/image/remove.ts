import { imageArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { dryRunFlag, yesFlag } from "../../lib/flags.ts";
import { imageNamed } from "../../lib/image.ts";

export default class ImageRemove extends DaemonCommand {
  static override summary = "Delete an image; the clones of it stay whole.";
  static override description =
    "On a terminal it asks first. A device that is no image is left alone: `device remove` deletes it.";
  static override args = { image: imageArg };
  static override flags = { "dry-run": dryRunFlag, yes: yesFlag };

  async run() {
    const { args, flags } = await this.parse(ImageRemove);
    return await this.withClient(flags, async (client) => {
      const image = await imageNamed(client, args.image, "image remove");
      const clones = (await client.list()).filter(({ originUuid }) => originUuid === image.uuid);
      const what = `image ${describeDevice(image)}`;
      if (flags["dry-run"]) return this.planned(`remove ${what}`);
      if (!flags.yes && !this.jsonEnabled()) {
        const { confirm } = await import("../../lib/confirm.ts");
        await confirm(`Delete ${what}? The clones of it that you can see, ${clones.length}, stay.`);
      }
      await client.remove({ name: image.name });
      this.log(image.name);
      return { removed: image.name };
    });
  }
}
