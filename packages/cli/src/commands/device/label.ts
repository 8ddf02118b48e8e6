import { Args, Flags } from "@oclif/core";
import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { UsageError } from "../../lib/errors.ts";
import { dryRunFlag } from "../../lib/flags.ts";

export default class DeviceLabel extends DaemonCommand {
  static override summary = "Show the labels of a device, set some, or take some away.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> mine team=storage ticket=42",
    "<%= config.bin %> <%= command.id %> mine --remove ticket",
  ];
  static override args = {
    device: deviceArg,
    labels: Args.string({
      name: "KEY=VALUE",
      description: "Labels to set; one that is there gets the new value.",
      multiple: true,
    }),
  };
  static override flags = {
    "dry-run": dryRunFlag,
    remove: Flags.string({
      summary: "Take this label away; can be given several times.",
      helpValue: "KEY",
      multiple: true,
      multipleNonGreedy: true,
    }),
  };

  async run() {
    const { args, flags } = await this.parse(DeviceLabel);
    const changes = labelChanges(args.labels ?? [], flags.remove ?? []);
    return await this.withClient(flags, async (client) => {
      const entries = Object.entries(changes);
      if (flags["dry-run"]) {
        const { name } = await client.get({ name: args.device });
        return this.planned(
          ...entries.map(([key, value]) =>
            value === null
              ? `take label ${key} from ${name}`
              : `set label ${key}=${value} on ${name}`,
          ),
        );
      }
      const device =
        entries.length === 0
          ? await client.get({ name: args.device })
          : await client.devices.update({ name: args.device, labels: changes });
      for (const [key, value] of Object.entries(device.labels ?? {})) this.log(`${key}=${value}`);
      return device;
    });
  }
}

function labelChanges(
  set: readonly string[],
  remove: readonly string[],
): Readonly<Record<string, string | null>> {
  const changes = new Map<string, string | null>(remove.map((key) => [key, null]));
  for (const pair of set) {
    const at = pair.indexOf("=");
    if (at < 1) {
      throw new UsageError({
        reason: `${JSON.stringify(pair)} is no label`,
        hint: "Write KEY=VALUE, or --remove KEY.",
      });
    }
    const key = pair.slice(0, at);
    if (changes.has(key)) {
      throw new UsageError({
        reason: `label ${JSON.stringify(key)} is named twice`,
        hint: "Name each label once.",
      });
    }
    changes.set(key, pair.slice(at + 1));
  }
  return Object.fromEntries(changes);
}
