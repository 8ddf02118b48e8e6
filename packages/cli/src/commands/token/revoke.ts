import { Args } from "@oclif/core";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { dryRunFlag } from "../../lib/flags.ts";

export default class TokenRevoke extends DaemonCommand {
  static override summary = "End a token at once, also for whoever copied it.";
  static override args = {
    token: Args.string({ description: "Its id, as `token list` shows it.", required: true }),
  };
  static override flags = { "dry-run": dryRunFlag };

  async run() {
    const { args, flags } = await this.parse(TokenRevoke);
    const id = args.token;
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) return this.planned(`end token ${id}`);
      await client.rights.revokeToken({ id });
      this.log(id);
      return { revoked: id };
    });
  }
}
