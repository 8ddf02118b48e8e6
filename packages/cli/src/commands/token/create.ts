import { Flags } from "@oclif/core";
import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { formatDuration } from "../../lib/duration.ts";
import { dryRunFlag, durationFlag } from "../../lib/flags.ts";
import { DEFAULT_LIFETIME_MS, TOKEN_VERBS } from "../../lib/token.ts";

export default class TokenCreate extends DaemonCommand {
  static override summary =
    "Let whoever has the token clone a device of yours, or mount it read-only.";
  static override description =
    "The secret is printed, and told this once; give it on as THINPOOL_TOKEN. The token ends by its time, by `token revoke`, and with its device.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> results --allow clone --for 8h",
    "THINPOOL_TOKEN=SECRET thinpool device clone results mine",
  ];
  static override args = { device: deviceArg };
  static override flags = {
    "dry-run": dryRunFlag,
    allow: Flags.option({
      summary: "What it allows; can be given twice.",
      options: TOKEN_VERBS,
      multiple: true,
      multipleNonGreedy: true,
      required: true,
    })(),
    for: durationFlag({ summary: "How long it holds; without it an hour." }),
    user: Flags.integer({ summary: "Only this user may use it.", helpValue: "UID", min: 0 }),
  };

  async run() {
    const { args, flags } = await this.parse(TokenCreate);
    const allow = [...new Set(flags.allow)];
    const lifetimeMs = flags.for ?? DEFAULT_LIFETIME_MS;
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const device = describeDevice(await client.get({ name: args.device }));
        const time = formatDuration(lifetimeMs);
        return this.planned(
          `make a token for ${device} that allows ${allow.join(",")} for ${time}`,
        );
      }
      const token = await client.rights.createToken({
        device: args.device,
        allow,
        lifetimeMs,
        ...(flags.user === undefined ? {} : { uid: flags.user }),
      });
      this.log(token.secret);
      const until = new Date(token.expiresAtMs).toISOString();
      if (!this.jsonEnabled()) this.logToStderr(`Token ${token.id}, until ${until}.`);
      return token;
    });
  }
}
