import { Flags } from "@oclif/core";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { formatDuration } from "../../lib/duration.ts";
import { dryRunFlag, durationFlag } from "../../lib/flags.ts";
import { DEFAULT_LIFETIME_MS } from "../../lib/token.ts";

export default class TokenConnect extends DaemonCommand {
  static override summary =
    "Let whoever has the token connect from other machines as you, or, for root, as any user.";
  static override description =
    "For a daemon that listens with --tcp; root alone may, unless the policy says allow.connect. The secret is printed, and told this once; give it on as THINPOOL_CONNECT_TOKEN. The token ends by its time and by `token revoke`, and with it the connections that were made by it.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> --user 1000 --for 7d > token",
    "THINPOOL_CONNECT_TOKEN_FILE=token thinpool whoami --url wss://build.example.org:7474",
  ];
  static override flags = {
    "dry-run": dryRunFlag,
    for: durationFlag({ summary: "How long it holds; without it an hour." }),
    user: Flags.integer({
      summary: "Whom it stands for; without it yourself.",
      helpValue: "UID",
      min: 0,
    }),
  };

  async run() {
    const { flags } = await this.parse(TokenConnect);
    const lifetimeMs = flags.for ?? DEFAULT_LIFETIME_MS;
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const uid = flags.user ?? (await client.rights.whoAmI()).uid;
        const time = formatDuration(lifetimeMs);
        return this.planned(`make a token to connect by as user ${uid} for ${time}`);
      }
      const token = await client.rights.createConnectToken({
        lifetimeMs,
        ...(flags.user === undefined ? {} : { uid: flags.user }),
      });
      this.log(token.secret);
      const until = new Date(token.expiresAtMs).toISOString();
      if (!this.jsonEnabled()) {
        this.logToStderr(`Token ${token.id} for user ${token.uid}, until ${until}.`);
      }
      return token;
    });
  }
}
