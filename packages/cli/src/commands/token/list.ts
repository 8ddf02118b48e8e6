import { DaemonCommand } from "../../lib/daemon-command.ts";
import { renderTokens } from "../../lib/token.ts";

export default class TokenList extends DaemonCommand {
  static override summary = "List the tokens that you have made; root sees all.";

  async run() {
    const { flags } = await this.parse(TokenList);
    const tokens = await this.withClient(flags, (client) => client.rights.tokens());
    this.log(renderTokens(tokens));
    return tokens;
  }
}
