import { Args } from "@oclif/core";
import { BaseCommand } from "../../lib/base-command.ts";
import { completionScript, type Shell, shells } from "../../lib/completion/scripts.ts";

export default class CompletionScript extends BaseCommand {
  static override summary = "Print the completion for a shell.";
  static override description =
    "For bash into /etc/bash_completion.d/thinpool, for zsh into a folder of $fpath as _thinpool, for fish into ~/.config/fish/completions/thinpool.fish.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> bash > /etc/bash_completion.d/thinpool",
  ];
  static override enableJsonFlag = false;
  static override args = {
    shell: Args.string({ description: "bash, zsh or fish.", options: [...shells], required: true }),
  };

  async run() {
    const { args } = await this.parse(CompletionScript);
    process.stdout.write(completionScript(args.shell as Shell));
  }
}
