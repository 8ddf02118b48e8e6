import { Flags } from "@oclif/core";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { renderConnectTokens, renderTokens } from "../../lib/token.ts";

export default class TokenList extends DaemonCommand {
  static override summary = "List the tokens that you have made; root sees all.";
  static override flags = {
    connect: Flags.boolean({
      summary: "Those to connect by, in place of those for devices; also what others made for you.",
    }),
  };

  async run() {
    const { flags } = await this.parse(TokenList);
    return await this.withClient(flags, async ({ rights }) => {
      if (flags.connect) {
        const tokens = await rights.connectTokens();
        this.log(renderConnectTokens(tokens));
        return tokens;
      }
      const tokens = await rights.tokens();
      this.log(renderTokens(tokens));
      return tokens;
    });
  }
}
