import { Flags } from "@oclif/core";
import { BaseCommand } from "../../lib/base-command.ts";
import { renderPolicy, type ShownPolicy } from "../../lib/policy.ts";
import { parsePath } from "../../lib/path.ts";

export default class PolicyShow extends BaseCommand {
  static override summary =
    "Show what the policy of this host gives to whom, and where it is from.";
  static override description =
    "Reads the file as the daemon would, and says all that is wrong with it. The daemon itself reads it at its start and on SIGHUP: `whoami` and `policy test` ask what holds now.";
  static override examples = [
    "<%= config.bin %> <%= command.id %>",
    "<%= config.bin %> <%= command.id %> --policy new-policy.json",
  ];
  static override flags = {
    policy: Flags.string({
      summary: "The file; without it /etc/thinpool/policy.json, if there is one.",
      helpValue: "FILE",
      parse: async (path) => parsePath(path),
    }),
    "socket-group": Flags.string({
      summary: "Without a file: the group that the daemon was given, if not thinpool.",
      helpValue: "GROUP",
    }),
  };

  async run() {
    const { flags } = await this.parse(PolicyShow);
    const { choosePolicyFile, readPolicyFile, defaultPolicyFile, DEFAULT_SOCKET_GROUP } =
      await import("@thinpool/mount-helper");
    const path = await choosePolicyFile(flags.policy);
    const file =
      path === undefined
        ? defaultPolicyFile(flags["socket-group"] ?? DEFAULT_SOCKET_GROUP)
        : (await readPolicyFile(path)).file;
    const shown: ShownPolicy = { path, ...file };
    this.log(renderPolicy(shown));
    return shown;
  }
}
