import { Flags } from "@oclif/core";
import { newNameArg, originArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree, describeDevice } from "../../lib/device.ts";
import { UsageError } from "../../lib/errors.ts";
import { dryRunFlag, onBehalfOfFlag } from "../../lib/flags.ts";
import { mountFlags, mountOptions } from "../../lib/mount-flags.ts";

/** Of --ephemeral; the token is the origin's. */
const { token: tokenFlag, ...ofMount } = mountFlags;

export default class DeviceClone extends DaemonCommand {
  static override summary = "Make a copy-on-write copy of a device or image, which is yours.";
  static override description =
    "With --ephemeral it is mounted at once, its place is printed, and it is removed with its last mount; the flags of `mount` say how.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> base job-7",
    'cd "$(thinpool device clone base job-7 --ephemeral --lease 2h)"',
  ];
  static override args = { origin: originArg, name: newNameArg };
  static override flags = {
    "dry-run": dryRunFlag,
    token: tokenFlag,
    "on-behalf-of": onBehalfOfFlag,
    ephemeral: Flags.boolean({
      summary: "Mount it at once, and remove it with its last mount.",
      exclusive: ["on-behalf-of"],
    }),
    ...ofMount,
  };

  async run() {
    const { args, flags } = await this.parse(DeviceClone);
    const { origin, name } = args;
    const { token, ephemeral, "on-behalf-of": onBehalfOf } = flags;
    const lost = Object.keys(ofMount).find((flag) => this.argv.includes(`--${flag}`));
    if (!ephemeral && lost !== undefined) {
      throw new UsageError({
        reason: `--${lost} says how to mount, and nothing is mounted`,
        hint: `Add --ephemeral, or give --${lost} to \`thinpool mount\`.`,
      });
    }
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        // With a token one may clone what one may not even see.
        const from =
          token === undefined ? describeDevice(await client.get({ name: origin })) : origin;
        assertNameFree(await client.list(), name);
        return this.planned(`make ${name} from ${from}`, ...(ephemeral ? [`mount ${name}`] : []));
      }
      const { device } = await client.clone({
        origin,
        name,
        ephemeral,
        ...(token === undefined ? {} : { token }),
        ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
      });
      if (!ephemeral) {
        this.log(device.name);
        return device;
      }
      const mounted = async () => {
        const options = await mountOptions(flags, client);
        return await client.mount({ device: name, ...options });
      };
      const { reference, path } = await mounted().catch(async (error: unknown) => {
        // It would go with this command's session, half a minute later; until then its name is taken.
        await client.remove({ name }).catch(() => undefined);
        throw error;
      });
      this.log(path);
      return { device, mount: { reference, device: name, path } };
    });
  }
}
