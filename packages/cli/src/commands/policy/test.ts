import { Args } from "@oclif/core";
import { policyVerb } from "@thinpool/protocol";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { UsageError } from "../../lib/errors.ts";

const VERBS = policyVerb.options;

export default class PolicyTest extends DaemonCommand {
  static override summary =
    "Tell which rule of the policy decides whether a user may do something.";
  static override description =
    "Exits 0 also where the answer is no: the answer is the output. Root and administrators only.";
  static override args = {
    user: Args.string({ description: "A user's name or number.", required: true }),
    verb: Args.string({
      description: `What he would do: ${VERBS.join(", ")}.`,
      required: true,
      options: [...VERBS],
    }),
    object: Args.string({
      description: "A device's name; for on-behalf-of the other user's number.",
    }),
  };

  async run() {
    const { args, flags } = await this.parse(PolicyTest);
    const { object } = args;
    const verb = VERBS.find((name) => name === args.verb) ?? "use";
    const user = /^\d+$/.test(args.user) ? Number(args.user) : args.user;
    const about =
      object === undefined
        ? {}
        : verb === "on-behalf-of"
          ? { otherUid: uidOf(object) }
          : { device: object };
    const answer = await this.withClient(flags, (client) =>
      client.rights.test({ user, verb, ...about }),
    );
    this.log(`${answer.allowed ? "allowed" : "refused"} by ${answer.rule}`);
    return answer;
  }
}

function uidOf(text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new UsageError({
    reason: `${JSON.stringify(text)} is no user's number`,
    hint: "Give the other user's number, as id -u prints it.",
  });
}
