import { BaseCommand } from "../../lib/base-command.ts";

export default class CompletionCandidates extends BaseCommand {
  static override summary = "Print what may come next; the shells' completion calls it.";
  static override hidden = true;
  static override enableJsonFlag = false;
  // The words are somebody else's command line: none of them is meant for this command.
  static override strict = false;

  async run() {
    const words = this.argv.slice(this.argv.indexOf("--") + 1);
    const { candidates } = await import("../../lib/completion/candidates.ts");
    const { daemonNames } = await import("../../lib/completion/live-names.ts");
    const { entriesOf } = await import("../../lib/docs/entries.ts");
    const { commands } = await import("../index.ts");
    const found = await candidates(
      entriesOf(commands),
      words.slice(0, -1),
      words.at(-1) ?? "",
      daemonNames(process.env),
    );
    process.stdout.write(found.map((word) => `${word}\n`).join(""));
  }
}
