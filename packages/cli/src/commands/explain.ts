import { Args } from "@oclif/core";
import { BaseCommand } from "../lib/base-command.ts";
import { explanationOf } from "../lib/explain.ts";
import { renderFields } from "../lib/table.ts";

export default class Explain extends BaseCommand {
  static override summary = "Say what an error code means and what to do.";
  static override examples = ["<%= config.bin %> <%= command.id %> NO_SPACE"];
  static override args = {
    code: Args.string({ description: "The code, as errors and --json show it.", required: true }),
  };

  async run() {
    const { args } = await this.parse(Explain);
    const entry = explanationOf(args.code);
    this.log(
      renderFields([
        ["code", entry.code],
        ["means", entry.meaning],
        ["number", entry.number === undefined ? "-" : String(entry.number)],
        ["try again", entry.retryable ? "yes, later, unchanged" : "no"],
        ["exit code", String(entry.exitCode)],
        ["what to do", entry.hint],
      ]),
    );
    return entry;
  }
}
