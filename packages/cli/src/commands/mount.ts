import type { Client } from "@thinpool/sdk";
import { deviceArg } from "../lib/args.ts";
import { DaemonCommand } from "../lib/daemon-command.ts";
import { describeDevice } from "../lib/device.ts";
import { dryRunFlag } from "../lib/flags.ts";
import { mountFlags, mountOptions } from "../lib/mount-flags.ts";

export default class Mount extends DaemonCommand {
  static override summary = "Mount a device and print where.";
  static override description =
    "Each mount is a reference: the device stays mounted until the last one is released by `umount`. Root's are permanent and come back after a reboot; a user's end by themselves after a day. A token lets you mount another's device, read-only.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> mine",
    "<%= config.bin %> <%= command.id %> mine --lease 2h --at ~/work",
  ];
  static override args = { device: deviceArg };

  static override flags = { "dry-run": dryRunFlag, ...mountFlags };

  async run() {
    const { args, flags } = await this.parse(Mount);
    return await this.withClient(flags, async (client) => {
      const token = await this.#tokenFor(client, args.device, flags.token);
      if (flags["dry-run"]) {
        // With a token one may mount what one may not even see.
        const named =
          token === undefined
            ? describeDevice(await client.get({ name: args.device }))
            : `${args.device} read-only, by a token`;
        return this.planned(`mount ${named}`);
      }
      // That is all that a token can allow.
      const readOnly = flags["read-only"] || token !== undefined;
      const options = await mountOptions({ ...flags, "read-only": readOnly }, client);
      const { reference, device, path } = await client.mount({
        device: args.device,
        ...options,
        ...(token === undefined ? {} : { token }),
      });
      this.log(path);
      return { reference, device, path };
    });
  }

  /** One of the environment may be meant for another command: for a device of one's own it counts only typed. */
  async #tokenFor(
    client: Client,
    name: string,
    token: string | undefined,
  ): Promise<string | undefined> {
    const isTyped = this.argv.some((word) => word === "--token" || word.startsWith("--token="));
    if (token === undefined || isTyped) return token;
    const [{ uid }, device] = await Promise.all([
      client.rights.whoAmI(),
      client.get({ name }).catch(() => undefined),
    ]);
    return uid === 0 || device?.ownerUid === uid ? undefined : token;
  }
}
