import { Flags } from "@oclif/core";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag, dryRunFlag, sizeFlag } from "../../lib/flags.ts";
import {
  changeOf,
  changedLines,
  ON_NO_SPACE,
  onOffFlag,
  overProvisionFlag,
  renderSpacePolicy,
  sizeOrNoneFlag,
} from "../../lib/pool/space-policy.ts";

export default class PoolSet extends DaemonCommand {
  static override summary = "Show or change what the pool does about its space.";
  static override description =
    "How it grows by itself, when it refuses new devices, and what it answers when it is full. What no flag names stays as it is; without any nothing is changed. Only administrators may. Who may do what is another matter: `policy show`.";
  static override examples = [
    "<%= config.bin %> <%= command.id %>",
    "<%= config.bin %> <%= command.id %> --data-floor 5GiB --overprovision 2.5",
    "<%= config.bin %> <%= command.id %> --data-step 20GiB --data-ceiling none",
  ];
  static override flags = {
    bytes: bytesFlag,
    "dry-run": dryRunFlag,
    "data-growth": onOffFlag({ summary: "Whether the data grows by itself." }),
    "data-step": sizeFlag({ summary: "By how much at a time." }),
    "data-ceiling": sizeOrNoneFlag({ summary: "How large it may become by itself, or none." }),
    "data-floor": sizeOrNoneFlag({
      summary: "No device is made while less data is free, or none.",
    }),
    "metadata-growth": onOffFlag({ summary: "Whether the metadata grows by itself." }),
    "metadata-step": sizeFlag({ summary: "By how much at a time." }),
    "metadata-ceiling": sizeOrNoneFlag({ summary: "How large it may become by itself, or none." }),
    "metadata-floor": sizeOrNoneFlag({
      summary: "No device is made while less metadata is free, or none.",
    }),
    "host-reserve": sizeOrNoneFlag({
      summary: "So much of the host's filesystem growth leaves alone, or none.",
    }),
    overprovision: overProvisionFlag({
      summary:
        "Whether devices may promise more than the pool has: allow, forbid, or up to so many times its data, as 2.5.",
    }),
    "on-no-space": Flags.option({ options: ON_NO_SPACE })({
      summary:
        "A write that finds no free block waits, fails, or waits while growth may still help.",
    }),
    "give-back-removed": onOffFlag({
      summary: "Whether a removed device's blocks go back to the host's filesystem.",
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolSet);
    const change = changeOf(flags);
    return await this.withClient(flags, async (client) => {
      if (change === undefined) {
        const policy = await client.pool.spacePolicy();
        this.log(renderSpacePolicy(policy, flags));
        return { policy };
      }
      if (flags["dry-run"]) {
        const lines = changedLines(await client.pool.spacePolicy(), change, flags);
        return this.planned(...lines.map((line) => `set ${line}`));
      }
      const set = await client.pool.setSpacePolicy(change);
      this.log(renderSpacePolicy(set.policy, flags));
      return set;
    });
  }
}
