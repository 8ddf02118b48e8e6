import { Args } from "@oclif/core";
import { newNameArg, originArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree, describeDevice } from "../../lib/device.ts";
import { UsageError } from "../../lib/errors.ts";
import { dryRunFlag } from "../../lib/flags.ts";

export default class DeviceSnapshot extends DaemonCommand {
  static override summary =
    "Make a device that shares all blocks with another until one is changed.";
  static override description =
    "Several pairs of origin and name are snapshots of one moment: all of them are made, or none.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> base clone-1",
    "<%= config.bin %> <%= command.id %> data data-monday log log-monday",
  ];
  static override args = {
    origin: originArg,
    name: newNameArg,
    more: Args.string({
      name: "ORIGIN NAME",
      description: "Further pairs, of the same moment.",
      multiple: true,
    }),
  };

  static override flags = { "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceSnapshot);
    const snapshots = pairsOf([args.origin, args.name, ...(args.more ?? [])]);
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const devices = await client.list();
        const steps: string[] = [];
        for (const { origin, name } of snapshots) {
          assertNameFree(devices, name);
          const from = describeDevice(await client.get({ name: origin }));
          steps.push(`make ${name} from ${from}`);
        }
        return this.planned(...steps);
      }
      if (snapshots.length === 1) {
        const { device } = await client.clone({ origin: args.origin, name: args.name });
        this.log(device.name);
        return device;
      }
      const made = await client.devices.snapshotMany({ snapshots });
      for (const { name } of made.devices) this.log(name);
      return made;
    });
  }
}

function pairsOf(words: readonly string[]): { origin: string; name: string }[] {
  if (words.length % 2 !== 0) {
    throw new UsageError({
      reason: `${JSON.stringify(words.at(-1))} has no name for its snapshot`,
      hint: "Give pairs: ORIGIN NAME ORIGIN NAME.",
    });
  }
  const pairs: { origin: string; name: string }[] = [];
  for (let at = 0; at < words.length; at += 2) {
    pairs.push({ origin: words[at] ?? "", name: words[at + 1] ?? "" });
  }
  return pairs;
}
